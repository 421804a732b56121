//! What was purged, as the newest table has it: for all threads at once, also for requests of earlier tables.
//!
//! A response is as old as the table under which its instance was asked. So one that was asked for before a purge is gone whenever it
//! comes, and whoever finds it; one that was asked for after it is not.

use super::key::Place;
use arc_swap::ArcSwap;
use model::Purge;

/// What was purged of the stored responses of one service.
#[derive(Default)]
pub(super) struct Purged(ArcSwap<Told>);

/// What a table says of it. In one piece, so that whoever sees a generation sees its purges.
#[derive(Default)]
struct Told {
    generation: u64,
    /// In the order of their generations.
    purges: Box<[Purge]>,
}

impl Purged {
    /// Takes what another table says. Whether it says something new.
    pub(super) fn tell(&self, generation: u64, purges: &[Purge]) -> bool {
        let is_new = *self.0.load().purges != *purges;
        self.0.store(Told { generation, purges: purges.into() }.into());
        is_new
    }

    /// The generation of the table that is in force: what is asked for from now on is born in it. To be read before what is stored is
    /// looked at.
    pub(super) fn generation(&self) -> u64 {
        self.0.load().generation
    }

    /// Whether what was asked for there under a table of generation `born` is gone.
    pub(super) fn takes(&self, place: &Place, born: u64) -> bool {
        let told = self.0.load();
        told.purges
            .iter()
            .rev()
            .take_while(|purge| purge.generation > born)
            .any(|purge| purge.takes(born, place.target()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_a_purge_is_gone_where_it_says_so() {
        let purged = Purged::default();
        let purge = |generation, path: Option<&str>| Purge { generation, path: path.map(str::to_owned) };
        let place = |target| Place::new("https", b"shop.test", target);
        assert!(!purged.takes(&place("/"), 0));
        assert!(purged.tell(9, &[purge(3, None), purge(7, Some("/img"))]));
        assert!(!purged.tell(10, &[purge(3, None), purge(7, Some("/img"))]));
        assert_eq!(purged.generation(), 10);
        let takes = |target, born| purged.takes(&place(target), born);
        assert!(takes("/x", 2) && !takes("/x", 3));
        assert!(takes("/img/a?v=1", 6) && !takes("/img/a?v=1", 7) && !takes("/imgs", 6));
    }
}
