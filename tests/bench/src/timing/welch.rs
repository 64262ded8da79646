//! Welch's t-test over running times, as dudect applies it: on all of them, and on those below each
//! of several percentiles, because the interrupts in the long tail hide small differences.

/// The measurements that the percentiles are taken from; they are not counted.
pub(super) const CALIBRATION: usize = 20_000;
/// In hundredths.
const PERCENTILES: [usize; 10] = [100, 99, 95, 90, 80, 70, 60, 50, 40, 25];
/// Fewer say nothing about a distribution.
const FEWEST: f64 = 100.0;
/// From here on dudect calls two distributions different beyond doubt (Reparaz, Balasch, Verbauwhede,
/// "Dude, is my code constant time?", 2017, §III).
pub(super) const DIFFERENT: f64 = 10.0;
/// And by so many nanoseconds at least. With ten million samples t also shows what no code does: a
/// tenth of a nanosecond, of another sign in the next process, between two inputs of straight-line
/// code. A branch, a line of the cache or one more turn of a loop costs several cycles.
pub(super) const LEAST_NS: f64 = 1.0;

/// One of two classes of inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Left,
    Right,
}

/// What a comparison came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Verdict {
    pub(super) samples: u32,
    /// The value of t that is farthest from zero.
    pub(super) max_t: f64,
    /// By how much the left class is slower there, in nanoseconds.
    pub(super) slower_ns: f64,
    /// Whether a difference is beyond doubt and large enough to be the code's.
    pub(super) is_different: bool,
}

/// Running times of two classes.
#[derive(Default)]
pub(super) struct Comparison {
    calibration: Vec<u32>,
    tests: Vec<Test>,
    samples: u32,
}

impl Comparison {
    /// One more time, in nanoseconds; beyond four seconds they are all the same.
    pub(super) fn add(&mut self, class: Class, nanoseconds: u128) {
        let time = u32::try_from(nanoseconds).unwrap_or(u32::MAX);
        if self.tests.is_empty() {
            self.calibrate(time);
            return;
        }
        self.samples += 1;
        for test in &mut self.tests {
            test.add(class, time);
        }
    }

    fn calibrate(&mut self, time: u32) {
        self.calibration.push(time);
        if self.calibration.len() < CALIBRATION {
            return;
        }
        self.calibration.sort_unstable();
        let at = |percentile| self.calibration.get(CALIBRATION * percentile / 100).copied();
        self.tests = PERCENTILES
            .iter()
            .map(|percentile| Test::below(at(*percentile).unwrap_or(u32::MAX)))
            .collect();
    }

    /// How many have been counted.
    pub(super) const fn samples(&self) -> u32 {
        self.samples
    }

    pub(super) fn verdict(&self) -> Verdict {
        let told = || self.tests.iter().filter_map(|test| Some((test.t()?, test.slower_ns())));
        let (max_t, slower_ns) =
            told().max_by(|a, b| a.0.abs().total_cmp(&b.0.abs())).unwrap_or_default();
        let is_different = told().any(|(t, ns)| t.abs() >= DIFFERENT && ns.abs() >= LEAST_NS);
        Verdict { samples: self.samples, max_t, slower_ns, is_different }
    }
}

impl Verdict {
    /// This one, different only if another process found the same difference. Some nanoseconds are a
    /// process's own: what lies on which page and line, by chance and for as long as it lives.
    pub(super) fn confirmed_by(self, again: Self) -> Self {
        let is_same_side = self.slower_ns.is_sign_positive() == again.slower_ns.is_sign_positive();
        let is_different = self.is_different && again.is_different && is_same_side;
        Self { is_different, ..self }
    }
}

struct Test {
    below: u32,
    left: Moments,
    right: Moments,
}

impl Test {
    const fn below(below: u32) -> Self {
        Self { below, left: Moments::NONE, right: Moments::NONE }
    }

    fn add(&mut self, class: Class, time: u32) {
        if time > self.below {
            return;
        }
        match class {
            Class::Left => self.left.add(time),
            Class::Right => self.right.add(time),
        }
    }

    /// `None` as long as there is too little to say.
    fn t(&self) -> Option<f64> {
        let Self { left, right, .. } = self;
        let error = (left.error() + right.error()).sqrt();
        let enough = left.count >= FEWEST && right.count >= FEWEST && error > 0.0;
        enough.then(|| self.slower_ns() / error)
    }

    fn slower_ns(&self) -> f64 {
        self.left.mean - self.right.mean
    }
}

/// Number, mean and variance of what has come so far (Welford 1962).
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    const NONE: Self = Self { count: 0.0, mean: 0.0, squares: 0.0 };

    fn add(&mut self, time: u32) {
        let time = f64::from(time);
        self.count += 1.0;
        let off = time - self.mean;
        self.mean += off / self.count;
        self.squares += off * (time - self.mean);
    }

    /// The variance of the mean.
    fn error(&self) -> f64 {
        self.squares / (self.count - 1.0) / self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times that repeat, between 1,000 and 1,996 ns, of each class alternately.
    fn compared(right_is_longer_by: u32) -> Verdict {
        let mut comparison = Comparison::default();
        for number in 0..200_000_u32 {
            let noise = 1_000 + number.wrapping_mul(2_654_435_761) % 997;
            let (class, more) = match number % 2 {
                0 => (Class::Left, 0),
                _ => (Class::Right, right_is_longer_by),
            };
            comparison.add(class, u128::from(noise + more));
        }
        let verdict = comparison.verdict();
        assert_eq!(verdict.samples, 180_000);
        verdict
    }

    #[test]
    fn equal_distributions_look_equal() {
        assert!(compared(0).max_t.abs() < 4.5);
    }

    #[test]
    fn a_difference_far_below_the_noise_is_seen() {
        let verdict = compared(30);
        assert!(verdict.max_t < -20.0 && verdict.is_different);
        assert!((-31.0..-29.0).contains(&verdict.slower_ns), "{}", verdict.slower_ns);
    }

    #[test]
    fn a_difference_of_less_than_a_nanosecond_is_told_and_is_not_the_codes() {
        let mut comparison = Comparison::default();
        for number in 0..200_000_u32 {
            let class = if number % 2 == 0 { Class::Left } else { Class::Right };
            // One time in four is one nanosecond longer.
            let time = 500 + u32::from(class == Class::Right && number % 8 == 1);
            comparison.add(class, u128::from(time));
        }
        let verdict = comparison.verdict();
        assert!(verdict.max_t < -DIFFERENT && !verdict.is_different);
    }

    #[test]
    fn a_difference_is_the_codes_only_if_another_process_has_it_too() {
        let (slower, faster, equal) =
            (compared(30), Verdict { slower_ns: 30.0, ..compared(30) }, compared(0));
        assert!(slower.confirmed_by(slower).is_different);
        assert!(faster.confirmed_by(faster).is_different);
        for other in [equal, faster] {
            assert!(!slower.confirmed_by(other).is_different);
            assert!(!other.confirmed_by(slower).is_different);
        }
    }

    #[test]
    fn a_difference_is_seen_below_a_long_tail() {
        let mut comparison = Comparison::default();
        for number in 0..200_000_u32 {
            // Every eighth measurement is interrupted for up to a second.
            let tail =
                if number % 8 < 1 { number.wrapping_mul(2_654_435_761) % 1_000_000_000 } else { 0 };
            let class = if number / 8 % 2 == 0 { Class::Left } else { Class::Right };
            let time = if class == Class::Left { 500 } else { 503 } + number % 16;
            comparison.add(class, u128::from(time + tail));
        }
        let verdict = comparison.verdict();
        assert!(verdict.max_t < -50.0 && verdict.is_different);
    }

    #[test]
    fn too_little_says_nothing() {
        let mut comparison = Comparison::default();
        for _ in 0..CALIBRATION + 10 {
            comparison.add(Class::Left, 7);
        }
        let silent = Verdict { samples: 10, max_t: 0.0, slower_ns: 0.0, is_different: false };
        assert_eq!(comparison.verdict(), silent);
    }
}
