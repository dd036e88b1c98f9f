//! The files of a published tree: which there are, their paths, and what is in them.

use proptest::prelude::*;
use vantio_ledger::tree::{
    Bundle, BundleError, Tile, TileBytesError, decode_bundle, decode_tile, encode_bundle, encode_tile,
};

use super::leaves;

#[test]
fn tiles_of_a_tree_are_those_of_the_specification() {
    let paths = |size| Tile::of_tree(size).map(|tile| tile.to_string()).collect::<Vec<_>>();
    assert!(paths(0).is_empty());
    assert_eq!(paths(1), ["tile/0/000.p/1"]);
    assert_eq!(paths(256), ["tile/0/000", "tile/1/000.p/1"]);
    assert_eq!(paths(257), ["tile/0/000", "tile/0/001.p/1", "tile/1/000.p/1"]);
    let large = paths(70_000);
    assert_eq!(large.len(), 273 + 1 + 1 + 1 + 1);
    let rest = ["tile/0/273.p/112", "tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1"];
    assert_eq!(large[273..], rest);
    let bundles: Vec<_> = Bundle::of_tree(257).collect();
    assert_eq!(bundles, [Bundle::new(0, 256).unwrap(), Bundle::new(1, 1).unwrap()]);
    assert_eq!(bundles[1].to_string(), "tile/entries/001.p/1");
    assert_eq!((bundles[1].entries(), bundles[1].tile()), (256..257, Tile::new(0, 1, 1).unwrap()));
}

#[test]
fn paths_are_those_of_the_specification() {
    let cases = [
        ("tile/0/x001/x234/067", Tile::new(0, 1_234_067, 256)),
        ("tile/0/x001/x234/067.p/8", Tile::new(0, 1_234_067, 8)),
        ("tile/1/000", Tile::new(1, 0, 256)),
        ("tile/2/999.p/255", Tile::new(2, 999, 255)),
        ("tile/2/x001/000.p/1", Tile::new(2, 1000, 1)),
        ("tile/7/000.p/1", Tile::new(7, 0, 1)),
    ];
    for (path, tile) in cases {
        let tile = tile.unwrap();
        assert_eq!(tile.to_string(), path);
        assert_eq!(path.parse(), Ok(tile));
    }
    let others = [
        "",
        "tile",
        "tile/0",
        "tile/0/",
        "tile/00/000",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/x000/000",
        "tile/0/001/000",
        "tile/0/x001",
        "tile/0/x001/",
        "tile/0/x001/x000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/0/000.p/+1",
        "tile/0/+00",
        "tile/-1/000",
        "/tile/0/000",
        "tile/0/000/",
        "tile/8/000",
        "tile/7/001",
        "tile/7/000.p/2",
        "tile/256/000",
        "tile/entries/000",
        "tile/0/x999/x999/x999/x999/x999/x999/999",
        "tile/0/000.p/1.p/1",
        "tile/0/00\u{663}",
    ];
    for path in others {
        assert!(path.parse::<Tile>().is_err(), "{path}");
    }
    assert_eq!("tile/entries/x001/000.p/3".parse(), Ok(Bundle::new(1000, 3).unwrap()));
    for path in ["tile/0/000", "tile/entries/0", "tile/entries/", "entries/000"] {
        assert!(path.parse::<Bundle>().is_err(), "{path}");
    }
}

#[test]
fn bundles_hold_up_to_256_entries_of_up_to_65535_bytes() {
    let longest = vec![7; 65_535];
    let entries: [&[u8]; 3] = [b"", b"ab", &longest];
    let bytes = encode_bundle(entries).unwrap();
    assert_eq!(bytes[..6], [0, 0, 0, 2, b'a', b'b']);
    assert_eq!(decode_bundle(&bytes).unwrap(), entries);
    let too_long = BundleError::TooLong { offset: 1, bytes: 65_536 };
    assert_eq!(encode_bundle([vec![], vec![0; 65_536]]), Err(too_long));
    assert_eq!(encode_bundle([[]; 257]), Err(BundleError::TooMany));
    assert_eq!(decode_bundle(&[0; 2 * 257]), Err(BundleError::TooMany));
    assert_eq!(decode_bundle(&[0; 2 * 256]).unwrap().len(), 256);
    assert_eq!(decode_bundle(&[0, 0, 0]), Err(BundleError::CutShort { offset: 1 }));
    assert_eq!(decode_bundle(&[0, 2, 1]), Err(BundleError::CutShort { offset: 0 }));
}

#[test]
fn files_of_tiles_hold_1_to_256_hashes() {
    let hashes = leaves(256);
    assert_eq!(decode_tile(&encode_tile(&hashes)), Ok(hashes));
    for length in [0, 31, 33, 32 * 257] {
        assert_eq!(decode_tile(&vec![0; length]), Err(TileBytesError(length)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn tiles_of_two_sizes_differ_by_those_added(sizes in any::<[u16; 2]>(), high in 0..3_u64) {
        let [first, second] = sizes.map(|size| u64::from(size) + (high << 16));
        let (old, new) = (first.min(second), first.max(second));
        let before: Vec<_> = Tile::of_tree(old).collect();
        let expected: Vec<_> = Tile::of_tree(new).filter(|tile| !before.contains(tile)).collect();
        prop_assert_eq!(Tile::added(old, new).collect::<Vec<_>>(), expected);
        let bundles: Vec<_> = Bundle::of_tree(old).collect();
        let expected: Vec<_> = Bundle::of_tree(new).filter(|bundle| !bundles.contains(bundle)).collect();
        prop_assert_eq!(Bundle::added(old, new).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_path_has_one_tile_and_a_tile_one_path(level in 0..9_u8, index in any::<u64>(), down in 0..64, width in 0..300_u16) {
        let index = index >> down;
        if let Some(tile) = Tile::new(level, index, width) {
            prop_assert_eq!(tile.to_string().parse(), Ok(tile));
            prop_assert_eq!((tile.level(), tile.index(), tile.width()), (level, index, width));
        }
    }

    #[test]
    fn what_parses_as_a_path_is_the_path(path in "tile/([0-9]|entries)/(x[0-9]{3}/){0,4}[0-9]{3}(\\.p/[0-9]{1,3})?") {
        if let Ok(tile) = path.parse::<Tile>() {
            prop_assert_eq!(tile.to_string(), path.as_str());
        }
        if let Ok(bundle) = path.parse::<Bundle>() {
            prop_assert_eq!(bundle.to_string(), path);
        }
    }

    #[test]
    fn bundles_come_back(entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..=256)) {
        let bytes = encode_bundle(&entries).unwrap();
        prop_assert_eq!(decode_bundle(&bytes).unwrap(), entries);
    }
}
