//! When a scripted fault happens, by calls and by time: the same script gives the same faults.

use std::time::Duration;

use selkie_hcl::{Located, Section};

use super::FaultError;

/// The longest time that a script may speak of: a day.
const LONGEST: u64 = 86_400;

/// When a fault happens: both must hold.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct When {
    /// Which of the calls that the rule is about, counted while the window is open.
    pub calls: Calls,
    /// In which time since the script was read.
    pub window: Window,
}

/// Which calls, counted from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Calls {
    /// All of them.
    #[default]
    All,
    /// `nth`: this one alone.
    Nth(u64),
    /// `every`: each so-and-so-manieth.
    Every(u64),
    /// `first`: so many, and then no more.
    First(u64),
    /// `probability`: by chance, which the seed decides.
    Probability(f64),
}

/// A time since the script was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// `from`: its beginning.
    pub from: Duration,
    /// `until`: its end; none by default.
    pub until: Option<Duration>,
    /// `repeat`: after this long all begins anew.
    pub repeat: Option<Duration>,
}

impl Calls {
    /// Whether call number `call` is meant; `chance` is from 0 to 1, without 1.
    #[must_use]
    pub fn include(self, call: u64, chance: f64) -> bool {
        match self {
            Self::All => true,
            Self::Nth(nth) => call == nth,
            Self::Every(every) => every != 0 && call.is_multiple_of(every),
            Self::First(first) => call <= first,
            Self::Probability(probability) => chance < probability,
        }
    }
}

impl Window {
    /// Whether it is open `elapsed` after the script was read.
    #[must_use]
    pub fn includes(self, elapsed: Duration) -> bool {
        let cycle = self.repeat.filter(|repeat| !repeat.is_zero()).map(|repeat| repeat.as_nanos());
        let elapsed = elapsed.as_nanos();
        let at = cycle.and_then(|cycle| elapsed.checked_rem(cycle)).unwrap_or(elapsed);
        self.from.as_nanos() <= at && self.until.is_none_or(|until| at < until.as_nanos())
    }
}

pub(super) fn decode(section: &mut Section<'_>) -> When {
    When { calls: calls(section), window: window(section) }
}

/// A field with a number, and what it says.
type Counted = (&'static str, fn(u64) -> Calls);

fn calls(section: &mut Section<'_>) -> Calls {
    let mut found: Option<(&'static str, Calls)> = None;
    let mut take = |field, place: selkie_hcl::Place<'_>, calls| match found {
        Some((one, _)) => place.report(FaultError::Conflict { one, other: field }),
        None => found = Some((field, calls)),
    };
    let counted: [Counted; 3] =
        [("nth", Calls::Nth), ("every", Calls::Every), ("first", Calls::First)];
    for (field, make) in counted {
        let number = section.field(field).unsigned().and_then(|number| {
            let positive = |number| if number > 0 { Ok(number) } else { Err(()) };
            number.try_map(|n| positive(n).map_err(|()| FaultError::Zero { field }))
        });
        if let Some(number) = number {
            take(field, number.place, make(number.value));
        }
    }
    let field = "probability";
    let chance = section.field(field).number().and_then(|number| {
        number.try_map(|chance| match chance > 0.0 && chance <= 1.0 {
            true => Ok(chance),
            false => Err(FaultError::NotAProbability { field }),
        })
    });
    if let Some(chance) = chance {
        take(field, chance.place, Calls::Probability(chance.value));
    }
    found.map_or(Calls::All, |(_, calls)| calls)
}

fn window(section: &mut Section<'_>) -> Window {
    let from = time(section, "from").map_or(Duration::ZERO, |from| from.value);
    let until = time(section, "until").and_then(|until| later(until, "until", ("from", from)));
    let repeat = time(section, "repeat");
    let repeat = match (repeat, until) {
        (Some(repeat), None) => {
            repeat.place.report(FaultError::Alone { field: "repeat", needed: "until" });
            None
        }
        // A cycle as long as the window would never close it.
        (repeat, Some(until)) => {
            repeat.and_then(|repeat| later(repeat, "repeat", ("until", until)))
        }
        (None, None) => None,
    };
    Window { from, until, repeat }
}

fn later(
    time: Located<'_, Duration>,
    field: &'static str,
    (earlier, than): (&'static str, Duration),
) -> Option<Duration> {
    let checked = time.try_map(|time| match time > than {
        true => Ok(time),
        false => Err(FaultError::NotLater { field, earlier }),
    });
    checked.map(|time| time.value)
}

/// A time that a script may speak of.
pub(super) fn time<'d>(
    section: &mut Section<'d>,
    field: &'static str,
) -> Option<Located<'d, Duration>> {
    section.field(field).duration()?.try_map(|time| match time.as_secs() <= LONGEST {
        true => Ok(time),
        false => Err(FaultError::TooLong { field, most: LONGEST }),
    })
}
