//! The sessions of the benchmark: session number `key` has the same token and data in every
//! program, also the one in Go.

/// A pseudorandom generator, of which every thread has one.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator that returns the same numbers for the same seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Returns the next number, by `SplitMix64`.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Two words that look random and belong to a key: the id of a session of tower-sessions.
#[must_use]
pub fn words(key: u64) -> (u64, u64) {
    let mut random = Random::new(key + 1);
    (random.draw(), random.draw())
}

/// Writes the token of a key into the buffer: 43 characters of base64url, like a hash of 256 bits.
pub fn token(key: u64, token: &mut String) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    token.clear();
    let mut random = Random::new(key + 1);
    let mut word = 0;
    for position in 0..43 {
        if position % 10 == 0 {
            word = random.draw();
        }
        token.push(char::from(ALPHABET[(word & 63) as usize]));
        word >>= 6;
    }
}

/// Fills the buffer with the data of a key, which can't be compressed.
pub fn data(key: u64, data: &mut [u8]) {
    let mut random = Random::new(!key);
    for chunk in data.chunks_mut(8) {
        chunk.copy_from_slice(&random.draw().to_le_bytes()[..chunk.len()]);
    }
}

/// Whether a session is live in a table of which half has expired.
#[must_use]
pub fn is_live(key: u64) -> bool {
    key.is_multiple_of(2)
}
