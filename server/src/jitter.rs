//! Pauses that are not the same on every replica.

use std::time::Duration;

use selkie_crypto::Random;

/// Between 3/4 and 5/4 of `pause`, so that replicas do not go in step.
pub(crate) fn jittered(random: &Random, pause: Duration) -> Duration {
    let mut byte = [128];
    // Without randomness there is no jitter, which is no reason to stop.
    let _ = random(&mut byte);
    let [byte] = byte;
    pause * 3 / 4 + pause * u32::from(byte) / 512
}

#[cfg(test)]
mod tests {
    use selkie_crypto::RandomError;

    use super::*;

    #[test]
    fn a_pause_lies_around_what_was_asked_for_and_is_that_without_randomness() {
        let pause = Duration::from_secs(512);
        let drawn = |byte: u8| {
            jittered(
                &move |bytes| {
                    bytes.fill(byte);
                    Ok(())
                },
                pause,
            )
        };
        assert_eq!([0, 128, 255].map(drawn), [384, 512, 639].map(Duration::from_secs));
        assert_eq!(jittered(&|_| Err(RandomError), pause), pause);
    }
}
