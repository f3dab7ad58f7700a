use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;

/// The inputs that cover what fuzzing has found to do.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds");
    let files = std::fs::read_dir(folder.join(target)).expect("a folder of seeds");
    let mut seeds: Vec<_> = files
        .map(|file| std::fs::read(file.expect("a file").path()).expect("a seed"))
        .collect();
    seeds.sort();
    seeds
}

/// A piece to put in: from which seed, where there, how long, and where to.
type Piece = (Index, Index, usize, Index);

fn mixed(seeds: &[Vec<u8>], first: Index, pieces: &[Piece]) -> Vec<u8> {
    let mut input = first.get(seeds).clone();
    for (seed, from, length, to) in pieces {
        let seed = seed.get(seeds);
        let from = from.index(seed.len() + 1);
        let piece = &seed[from..seed.len().min(from + length)];
        let to = to.index(input.len() + 1);
        let replaced = to..input.len().min(to + length / 2);
        input.splice(replaced, piece.iter().copied());
    }
    input
}

macro_rules! seeds_and_mixtures {
    ($($(#[$when:meta])? $name:ident,)*) => {$(
        $(#[$when])?
        #[test]
        fn $name() {
            let seeds = seeds(stringify!($name));
            for seed in &seeds {
                super::$name(seed);
            }
            let piece = (any::<Index>(), any::<Index>(), 0_usize..24, any::<Index>());
            let mixture = (any::<Index>(), prop::collection::vec(piece, 0..6));
            let mixture = mixture.prop_map(|(first, pieces)| mixed(&seeds, first, &pieces));
            proptest!(|(input in mixture)| super::$name(&input));
        }
    )*};
}

seeds_and_mixtures! {
    cache_control,
    dates,
    entity_tags,
    patterns,
    ranges,
    structured,
    uris,
    vary,
    #[cfg(feature = "redis")]
    wire,
}
