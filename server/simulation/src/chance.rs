//! Randomness from a seed.

use std::sync::{Arc, Mutex};

use selkie_crypto::Random;

/// A stream of numbers that its seed decides (SplitMix64). Who shares it takes turns.
#[derive(Clone, Debug)]
pub(crate) struct Chance(Arc<Mutex<u64>>);

impl Chance {
    /// The stream of `seed` that is for `purpose`.
    pub(crate) fn new(seed: u64, purpose: &str) -> Self {
        let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let start = purpose.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, mix);
        let chance = Self(Arc::new(Mutex::new(start)));
        // Neighbouring seeds begin alike.
        chance.next();
        chance
    }

    pub(crate) fn next(&self) -> u64 {
        let mut state = self.0.lock().unwrap();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn index(&self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap()
    }

    /// Whether something happens that does so in `percent` of cases.
    pub(crate) fn is(&self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn of<T: Clone>(&self, choices: &[T]) -> T {
        choices[self.index(choices.len())].clone()
    }

    /// As what a server takes for randomness.
    pub(crate) fn into_random(self) -> Arc<Random> {
        Arc::new(move |buffer: &mut [u8]| {
            for part in buffer.chunks_mut(8) {
                part.copy_from_slice(&self.next().to_le_bytes()[..part.len()]);
            }
            Ok(())
        })
    }
}
