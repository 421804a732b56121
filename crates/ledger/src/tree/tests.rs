use super::{proof::*, *};
use proptest::prelude::*;

/// The eight leaves that the implementations of Certificate Transparency test with, and the roots over the first ones.
const LEAVES: [&[u8]; 8] = [
    b"",
    &[0x00],
    &[0x10],
    &[0x20, 0x21],
    &[0x30, 0x31],
    &[0x40, 0x41, 0x42, 0x43],
    &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
    &[0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f],
];
const ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];
/// Published proofs in the tree of eight leaves and smaller ones: (leaf, size, hashes).
const INCLUSIONS: [(u64, u64, &[&str]); 5] = [
    (0, 1, &[]),
    (
        0,
        8,
        &[
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        5,
        8,
        &[
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (2, 3, &["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    (
        1,
        5,
        &[
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
];
/// Published proofs that one tree is the beginning of another: (old size, new size, hashes).
const CONSISTENCIES: [(u64, u64, &[&str]); 5] = [
    (1, 1, &[]),
    (
        1,
        8,
        &[
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        6,
        8,
        &[
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (
        2,
        5,
        &[
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
    (
        6,
        7,
        &[
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
];

fn digests(texts: &[&str]) -> Vec<Digest> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn nodes(leaves: &[Digest]) -> impl FnMut(Node) -> Result<Digest, std::convert::Infallible> + '_ {
    |Node { level, index }| {
        let range = (index << level) as usize..((index + 1) << level) as usize;
        Ok(root_over(&leaves[range]).unwrap())
    }
}

fn numbered(count: u64) -> Vec<Digest> {
    (0..count).map(|i| leaf_hash(&i.to_be_bytes())).collect()
}

fn head(leaves: &[Digest]) -> TreeHead {
    TreeHead { size: leaves.len() as u64, root: root_over(leaves).unwrap_or_else(|| Digest::of(b"")) }
}

#[test]
fn roots_and_proofs_are_the_published_ones() {
    let leaves: Vec<Digest> = LEAVES.iter().map(|leaf| leaf_hash(leaf)).collect();
    let mut frontier = Frontier::default();
    for (size, root) in ROOTS.iter().enumerate() {
        assert_eq!(frontier.root().to_string(), *root);
        assert_eq!(Frontier::from_nodes(size as u64, nodes(&leaves)), Ok(frontier.clone()));
        leaves.get(size).into_iter().for_each(|leaf| frontier.push(*leaf));
    }
    for (index, size, expected) in INCLUSIONS {
        let proof = inclusion(index, size, nodes(&leaves)).unwrap();
        assert_eq!(proof, digests(expected), "leaf {index} of {size}");
        verify_inclusion(&leaves[index as usize], index, &head(&leaves[..size as usize]), &proof).unwrap();
    }
    for (old, new, expected) in CONSISTENCIES {
        let proof = consistency(old, new, nodes(&leaves)).unwrap();
        assert_eq!(proof, digests(expected), "{old} of {new}");
        verify_consistency(&head(&leaves[..old as usize]), &head(&leaves[..new as usize]), &proof).unwrap();
    }
}

/// The oracle: another implementation of the same standard.
#[test]
fn every_proof_up_to_seventy_leaves_is_what_another_implementation_makes() {
    let mut tree = ct_merkle::mem_backed_tree::MemoryBackedTree::<Sha256, Vec<u8>>::new();
    let all = numbered(70);
    let bytes = |proof: Vec<Digest>| proof.iter().flat_map(|hash| hash.0).collect::<Vec<u8>>();
    for size in 1..=70_u64 {
        tree.push((size - 1).to_be_bytes().to_vec());
        let leaves = &all[..size as usize];
        assert_eq!(tree.root().as_bytes().as_slice(), head(leaves).root.0);
        for index in 0..size {
            let proof = bytes(inclusion(index, size, nodes(leaves)).unwrap());
            assert_eq!(tree.prove_inclusion(index as usize).as_bytes(), proof, "leaf {index} of {size}");
            let old = index + 1;
            let proof = bytes(consistency(old, size, nodes(leaves)).unwrap());
            assert_eq!(tree.prove_consistency((size - old) as usize).as_bytes(), proof, "{old} of {size}");
        }
    }
}

#[test]
fn a_frontier_read_back_is_checked_for_its_form() {
    let mut frontier = Frontier::default();
    numbered(11).into_iter().for_each(|leaf| frontier.push(leaf));
    let json = serde_json::to_value(&frontier).unwrap();
    assert_eq!(serde_json::from_value::<Frontier>(json.clone()).unwrap(), frontier);
    let mut lying = json;
    lying["size"] = 12.into();
    assert!(serde_json::from_value::<Frontier>(lying).is_err());
}

/// What may be done to a proof, as the published invalid ones do it.
#[derive(Clone, Debug)]
enum Spoil {
    Bit(prop::sample::Index, u8),
    Remove(prop::sample::Index),
    Insert(prop::sample::Index, [u8; 32]),
    Root(u8),
    Leaf(u8),
    Position(u64),
}

fn spoil() -> impl Strategy<Value = Spoil> {
    prop_oneof![
        (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, bit)| Spoil::Bit(at, bit)),
        any::<prop::sample::Index>().prop_map(Spoil::Remove),
        (any::<prop::sample::Index>(), any::<[u8; 32]>()).prop_map(|(at, hash)| Spoil::Insert(at, hash)),
        any::<u8>().prop_map(Spoil::Root),
        any::<u8>().prop_map(Spoil::Leaf),
        (1..40_u64).prop_map(Spoil::Position),
    ]
}

fn flip(digest: &mut Digest, bit: u8) {
    digest.0[usize::from(bit / 8)] ^= 1 << (bit % 8);
}

proptest! {
    #[test]
    fn proofs_verify_and_spoilt_ones_do_not(size in 1..300_u64, pick: prop::sample::Index, spoil in spoil()) {
        let leaves = numbered(size);
        let index = pick.index(size as usize) as u64;
        let tree = head(&leaves);
        let old = head(&leaves[..=index as usize]);
        let included = inclusion(index, size, nodes(&leaves)).unwrap();
        let consistent = consistency(old.size, size, nodes(&leaves)).unwrap();
        prop_assert_eq!(verify_inclusion(&leaves[index as usize], index, &tree, &included), Ok(()));
        prop_assert_eq!(verify_consistency(&old, &tree, &consistent), Ok(()));

        let change = |proof: &[Digest]| {
            let (mut proof, mut tree, mut leaf, mut old, mut index) = (proof.to_vec(), tree, leaves[index as usize], old, index);
            match &spoil {
                Spoil::Bit(at, bit) if !proof.is_empty() => {
                    let at = at.index(proof.len());
                    flip(&mut proof[at], *bit);
                }
                Spoil::Remove(at) if !proof.is_empty() => drop(proof.remove(at.index(proof.len()))),
                Spoil::Insert(at, hash) => proof.insert(at.index(proof.len() + 1), Digest(*hash)),
                Spoil::Bit(_, bit) | Spoil::Root(bit) => flip(&mut tree.root, *bit),
                Spoil::Remove(_) => flip(&mut tree.root, 0),
                Spoil::Leaf(bit) => {
                    flip(&mut leaf, *bit);
                    flip(&mut old.root, *bit);
                }
                Spoil::Position(by) => {
                    index += by;
                    old.size += by;
                }
            }
            (proof, tree, leaf, old, index)
        };
        let (proof, tree, leaf, _, index) = change(&included);
        prop_assert!(verify_inclusion(&leaf, index, &tree, &proof).is_err());
        let (proof, tree, _, old, _) = change(&consistent);
        prop_assert!(verify_consistency(&old, &tree, &proof).is_err());
    }

    #[test]
    fn a_frontier_has_the_root_of_the_whole_tree(size in 0..600_u64) {
        let leaves = numbered(size);
        let mut frontier = Frontier::default();
        let mut complete = Vec::new();
        for leaf in &leaves {
            frontier.push_with(*leaf, |node, hash| complete.push((node, *hash)));
        }
        prop_assert_eq!(frontier.head(), head(&leaves));
        prop_assert_eq!(Frontier::from_nodes(size, nodes(&leaves)), Ok(frontier));
        prop_assert_eq!(range_root(0, size, &mut nodes(&leaves)), Ok(head(&leaves).root));
        for (node, hash) in complete {
            prop_assert_eq!(nodes(&leaves)(node), Ok(hash));
        }
    }
}
