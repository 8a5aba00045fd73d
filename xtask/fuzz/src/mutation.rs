//! How inputs are made from others.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// An input as a plan: another input, and what is changed in it.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Without one it begins with nothing.
    base: Option<Index>,
    mutations: Vec<Mutation>,
}

#[derive(Clone, Debug)]
enum Mutation {
    Flip {
        at: Index,
        bit: u8,
    },
    Overwrite {
        at: Index,
        bytes: Vec<u8>,
    },
    Insert {
        at: Index,
        bytes: Vec<u8>,
    },
    Remove {
        at: Index,
        len: usize,
    },
    /// Repeats a part: nesting and counts grow deep by that.
    Repeat {
        at: Index,
        len: usize,
        times: usize,
    },
    /// Copies a part over another.
    Move {
        from: Index,
        to: Index,
        len: usize,
    },
    /// Replaces what is behind a place by the end of another input.
    Cross {
        at: Index,
        other: Index,
        from: Index,
    },
    Truncate {
        at: Index,
    },
}

impl Plan {
    pub(crate) fn any(words: &'static [&'static [u8]]) -> impl Strategy<Value = Self> {
        let base = prop_oneof![20 => any::<Index>().prop_map(Some), 1 => Just(None)];
        let mutations = vec(Mutation::any(words), 1..8);
        (base, mutations).prop_map(|(base, mutations)| Self { base, mutations })
    }

    /// Makes the input. The pool isn't empty.
    pub(crate) fn input(&self, pool: &[Vec<u8>], max_len: usize) -> Vec<u8> {
        let mut input = self.base.map_or(Vec::new(), |base| base.get(pool).clone());
        for mutation in &self.mutations {
            mutation.apply(&mut input, pool, max_len);
            input.truncate(max_len);
        }
        input
    }
}

impl Mutation {
    fn any(words: &'static [&'static [u8]]) -> impl Strategy<Value = Self> {
        let at = any::<Index>;
        let random = vec(any::<u8>(), 1..16);
        let numbers = select(vec![
            vec![0],
            vec![0x7F],
            vec![0x80],
            vec![0xFF],
            vec![0; 8],
            vec![0xFF; 8],
            vec![0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
            vec![0x80, 0, 0, 0, 0, 0, 0, 0],
            vec![0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01],
        ]);
        let words = select(words).prop_map(<[u8]>::to_vec);
        let bytes = prop_oneof![2 => random, 1 => numbers, 4 => words].boxed();
        // Short parts more often than long ones.
        let len = prop_oneof![6 => 1..16_usize, 2 => 16..600_usize, 1 => 600..70_000_usize].boxed();
        let times = prop_oneof![6 => 1..4_usize, 1 => 4..5_000_usize];
        prop_oneof![
            3 => (at(), 0..8_u8).prop_map(|(at, bit)| Self::Flip { at, bit }),
            4 => (at(), bytes.clone()).prop_map(|(at, bytes)| Self::Overwrite { at, bytes }),
            4 => (at(), bytes).prop_map(|(at, bytes)| Self::Insert { at, bytes }),
            3 => (at(), len.clone()).prop_map(|(at, len)| Self::Remove { at, len }),
            2 => (at(), len.clone(), times)
                .prop_map(|(at, len, times)| Self::Repeat { at, len, times }),
            2 => (at(), at(), len).prop_map(|(from, to, len)| Self::Move { from, to, len }),
            2 => (at(), at(), at())
                .prop_map(|(at, other, from)| Self::Cross { at, other, from }),
            1 => at().prop_map(|at| Self::Truncate { at }),
        ]
    }

    fn apply(&self, input: &mut Vec<u8>, pool: &[Vec<u8>], max_len: usize) {
        // A place is one of the bytes or the end.
        let place = |at: &Index, len: usize| at.index(len + 1);
        let len = input.len();
        match self {
            Self::Flip { at, bit } => {
                if let Some(byte) = input.get_mut(place(at, len)) {
                    *byte ^= 1 << bit;
                }
            }
            Self::Overwrite { at, bytes } => {
                let at = place(at, len);
                let end = len.min(at + bytes.len());
                input.splice(at..end, bytes.iter().copied());
            }
            Self::Insert { at, bytes } => {
                let at = place(at, len);
                input.splice(at..at, bytes.iter().copied());
            }
            Self::Remove { at, len: removed } => {
                let at = place(at, len);
                input.drain(at..len.min(at + removed));
            }
            Self::Repeat { at, len: repeated, times } => {
                let at = place(at, len);
                let part = input[at..len.min(at + repeated)].to_vec();
                let times = (*times).min(max_len / part.len().max(1));
                input.splice(at..at, part.repeat(times));
            }
            Self::Move { from, to, len: moved } => {
                let (from, to) = (place(from, len), place(to, len));
                let end = len.min(from + moved).min(from + (len - to));
                input.copy_within(from..end, to);
            }
            Self::Cross { at, other, from } => {
                let other = other.get(pool);
                input.truncate(place(at, len));
                input.extend_from_slice(&other[place(from, other.len())..]);
            }
            Self::Truncate { at } => input.truncate(place(at, len)),
        }
    }
}
