//! Azure's limiter: fixed windows, one per vault, operations weighed by their key.

use serde::{Deserialize, Serialize};

use super::key::KeyType;
use super::material::Kind;

/// How a vault throttles.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Throttle {
    pub(crate) enabled: bool,
    /// Units per window; one is an operation with a software key of RSA-2048.
    pub(crate) limit: u32,
    pub(crate) scale: f64,
    pub(crate) window_ms: u32,
    pub(crate) phase_ms: u32,
    pub(crate) retry_after: Option<u32>,
    pub(crate) before_challenge: bool,
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            enabled: true,
            limit: 4000,
            scale: 1.0,
            window_ms: 10_000,
            phase_ms: 0,
            retry_after: None,
            before_challenge: false,
        }
    }
}

/// What has been used of the current window.
#[derive(Clone, Debug, Default)]
pub(crate) struct Window {
    number: i64,
    used: f64,
}

impl Window {
    /// Takes `cost` units, or refuses; a refusal costs nothing.
    pub(crate) fn take(&mut self, throttle: &Throttle, cost: u32, real_ms: i64) -> bool {
        let length = i64::from(throttle.window_ms.max(1));
        let number = real_ms.saturating_sub(i64::from(throttle.phase_ms)).div_euclid(length);
        if number != self.number {
            *self = Self { number, used: 0.0 };
        }
        let admitted = self.used + f64::from(cost) <= f64::from(throttle.limit) * throttle.scale;
        if admitted {
            self.used += f64::from(cost);
        }
        admitted
    }
}

/// What an operation with a key costs.
pub(crate) fn cost(key_type: KeyType, kind: Kind, makes_a_version: bool) -> u32 {
    let hardware = if key_type == KeyType::Rsa { 1 } else { 2 };
    let size = match kind {
        _ if makes_a_version => 200,
        Kind::Rsa(3072) => 4,
        Kind::Rsa(4096) => 8,
        Kind::Rsa(_) | Kind::Aes => 1,
    };
    hardware * size
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(throttle: &Throttle, cost: u32, from_ms: i64) -> usize {
        let mut window = Window::default();
        (0..10_000).take_while(|_| window.take(throttle, cost, from_ms)).count()
    }

    #[test]
    fn one_window_admits_azures_numbers() {
        let azure = Throttle::default();
        for (key_type, bits, operations) in [
            (KeyType::Rsa, 2048, 4000),
            (KeyType::Rsa, 3072, 1000),
            (KeyType::Rsa, 4096, 500),
            (KeyType::RsaHsm, 2048, 2000),
            (KeyType::RsaHsm, 3072, 500),
            (KeyType::RsaHsm, 4096, 250),
        ] {
            let cost = cost(key_type, Kind::Rsa(bits), false);
            assert_eq!(admitted(&azure, cost, 5), operations, "{key_type:?} {bits}");
        }
        assert_eq!(admitted(&azure, cost(KeyType::Rsa, Kind::Rsa(2048), true), 5), 20);
        assert_eq!(admitted(&azure, cost(KeyType::RsaHsm, Kind::Rsa(4096), true), 5), 10);
    }

    #[test]
    fn a_window_ends_at_its_phase_and_refusals_cost_nothing() {
        let throttle = Throttle { limit: 4, scale: 0.5, phase_ms: 300, ..Throttle::default() };
        let mut window = Window::default();
        let mut take = |at| window.take(&throttle, 1, at);
        assert!(take(10_299) && take(10_299) && !take(10_299));
        assert!(take(10_300), "the next window began");
        assert!(take(20_299) && !take(20_299) && take(20_300));
    }
}
