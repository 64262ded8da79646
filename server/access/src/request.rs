//! What a rule may look at besides the path: the parameters of a request, and whether its answer is
//! to be wrapped.

use std::time::Duration;

/// What is asked for.
pub trait Request {
    /// The parameters by name; `None` where they are no longer known as they were sent, and then
    /// whatever rule asks for them refuses. Asked for only where a rule speaks of parameters.
    fn parameters(&self) -> Option<Vec<(&str, Parameter<'_>)>>;

    /// How long the wrapped answer is to be kept; `None` if it is not to be wrapped.
    fn wrap_ttl(&self) -> Option<Duration>;
}

/// The value of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameter<'r> {
    /// `null`
    Null,
    /// `true` or `false`
    Boolean(bool),
    /// A number, in its digits.
    Number(&'r str),
    /// A text.
    Text(&'r str),
    /// A list, in its JSON.
    List(&'r str),
    /// An object, or what is not known more closely; no value in a policy is equal to it.
    Compound,
}

/// A request without parameters.
#[derive(Clone, Copy, Debug)]
pub struct Bare;

impl Request for Bare {
    fn parameters(&self) -> Option<Vec<(&str, Parameter<'_>)>> {
        Some(Vec::new())
    }

    fn wrap_ttl(&self) -> Option<Duration> {
        None
    }
}
