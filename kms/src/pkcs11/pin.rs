//! The PIN of a token, kept where no dump shows it.

use std::fmt;

use selkie_memory::SecretPage;
use zeroize::{Zeroize, Zeroizing};

/// What tokens take at most, and more.
const LONGEST: usize = 1024;

/// A PIN, which is kept for as long as the seal: each child that is started needs it. It lies in a
/// page that no dump shows; in ordinary memory, wiped in the end, where no such page can be had or
/// it is longer than any token takes.
pub struct Pin(Place);

enum Place {
    Page { page: SecretPage<LONGEST>, length: usize },
    Heap(Zeroizing<String>),
}

impl From<Zeroizing<String>> for Pin {
    fn from(mut text: Zeroizing<String>) -> Self {
        let length = text.len();
        let fill = |page: &mut [u8; LONGEST]| {
            if let Some(place) = page.get_mut(..length) {
                place.copy_from_slice(text.as_bytes());
            }
        };
        match SecretPage::new(fill) {
            Ok(page) if length <= LONGEST => {
                text.zeroize();
                Self(Place::Page { page, length })
            }
            _ => Self(Place::Heap(text)),
        }
    }
}

impl Pin {
    /// Its bytes.
    pub(super) fn expose(&self) -> &[u8] {
        match &self.0 {
            Place::Page { page, length } => page.expose().get(..*length).unwrap_or_default(),
            Place::Heap(text) => text.as_bytes(),
        }
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pin").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_of_any_length_is_what_it_was() {
        for text in ["", "1234", &"9".repeat(LONGEST), &"8".repeat(LONGEST + 1)] {
            let pin = Pin::from(Zeroizing::new(text.to_owned()));
            assert_eq!(pin.expose(), text.as_bytes());
        }
    }
}
