//! The signed state of a ledger: C2SP `tlog-checkpoint`. Three lines (whose ledger, how many entries, the root over
//! them) as a signed [`note`]. Two checkpoints of one ledger that are not consistent prove that it was
//! forked.

use crate::{TreeHead, note};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use model::Digest;

/// Signs this state of the ledger that the key is named after.
pub fn sign(head: &TreeHead, signer: &note::Signer) -> String {
    signer.sign(&format!("{}\n{}\n{}\n", signer.verifier().name(), head.size, BASE64.encode(head.root.0)))
}

/// The state that a checkpoint says, if this key signed it for its ledger. Extension lines are allowed and ignored.
///
/// # Errors
/// When it is not such a checkpoint.
pub fn open(checkpoint: &str, key: &note::Verifier) -> Result<TreeHead, note::Error> {
    let text = key.open(checkpoint)?;
    let mut lines = text.trim_end_matches('\n').split('\n');
    let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
        return Err(note::Error::Malformed("a checkpoint has three lines"));
    };
    if origin != key.name() {
        return Err(note::Error::Malformed("the checkpoint is one of another ledger than the key"));
    }
    let size: u64 = size
        .parse()
        .ok()
        .filter(|n: &u64| n.to_string() == size)
        .ok_or(note::Error::Malformed("its second line is not a number of entries"))?;
    let root = BASE64.decode(root).ok().and_then(|bytes| Some(Digest(bytes.try_into().ok()?)));
    let root = root.ok_or(note::Error::Malformed("its third line is not a SHA-256 hash in base64"))?;
    Ok(TreeHead { size, root })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_reads_as_the_specification_says() {
        let signer = note::Signer::new("example.com/behind-the-sofa", &[3; 32]).unwrap();
        let root = BASE64.decode("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=").unwrap().try_into().unwrap();
        let head = TreeHead { size: 20_852_163, root: Digest(root) };
        let checkpoint = sign(&head, &signer);
        assert!(checkpoint.starts_with(
            "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\u{2014} example.com/behind-the-sofa "
        ));
        assert_eq!(open(&checkpoint, &signer.verifier()), Ok(head));
    }

    #[test]
    fn a_signed_text_that_is_no_checkpoint_is_refused() {
        let signer = note::Signer::new("example.com/a", &[3; 32]).unwrap();
        let root = BASE64.encode([1; 32]);
        assert!(open(&signer.sign(&format!("example.com/a\n0\n{root}\nextension\n")), &signer.verifier()).is_ok());
        for text in [
            "example.com/a\n1\n".to_owned(),
            format!("example.com/b\n1\n{root}\n"),
            format!("example.com/a\n01\n{root}\n"),
            format!("example.com/a\n-1\n{root}\n"),
            "example.com/a\n1\nAAAA\n".to_owned(),
        ] {
            assert!(open(&signer.sign(&text), &signer.verifier()).is_err(), "{text}");
        }
    }
}
