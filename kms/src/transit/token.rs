//! Our token at the other server: given once, or in a file that an agent keeps fresh.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use selkie_memory::WipedVec;
use subtle::ConstantTimeEq;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::TokenSource;

/// How often the file is looked at, at most.
const LOOK: Duration = Duration::from_secs(1);
/// More than any token.
const LARGEST_FILE: u64 = 64 * 1024;

/// A token's text; wiped when dropped, never printed.
pub(super) struct Token(WipedVec);

impl Token {
    fn new(text: &[u8]) -> Option<Self> {
        let text = text.trim_ascii();
        let is_sound = !text.is_empty() && text.iter().all(u8::is_ascii_graphic);
        is_sound.then(|| Self(WipedVec::new(text.to_vec())))
    }

    /// The text, for the header.
    pub(super) fn expose_for_header(&self) -> &[u8] {
        &self.0
    }

    fn is_same(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// The file holds no token, or cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoToken;

/// The token that counts now.
pub(super) struct TokenKeeper {
    /// None where it was given once for all.
    file: Option<PathBuf>,
    held: Mutex<Held>,
    changes: Notify,
}

#[derive(Default)]
struct Held {
    token: Option<Arc<Token>>,
    looked: Option<Instant>,
    changed: Option<SystemTime>,
    is_open_to_all: bool,
    /// How often that was told.
    warnings: u32,
}

impl TokenKeeper {
    pub(super) fn new(source: TokenSource) -> Self {
        let (file, token) = match source {
            TokenSource::Nowhere => (None, None),
            TokenSource::Given(text) => (None, Token::new(text.as_bytes()).map(Arc::new)),
            TokenSource::File(path) => (Some(path), None),
        };
        let held = Mutex::new(Held { token, ..Held::default() });
        Self { file, held, changes: Notify::new() }
    }

    /// The token to send, if there is one to send.
    ///
    /// # Errors
    /// [`NoToken`] if there should be one and is none.
    pub(super) async fn current(&self) -> Result<Option<Arc<Token>>, NoToken> {
        let Some(file) = &self.file else { return Ok(self.held().token.clone()) };
        let is_due = self.held().looked.is_none_or(|looked| looked.elapsed() >= LOOK);
        if is_due {
            self.look(file).await;
        }
        self.held().token.clone().map(Some).ok_or(NoToken)
    }

    /// Another token than `refused`, if there is one by now.
    pub(super) async fn other_than(&self, refused: &Token) -> Option<Arc<Token>> {
        self.look(self.file.as_deref()?).await;
        self.held().token.clone().filter(|token| !token.is_same(refused))
    }

    /// Waits until the file has another token.
    pub(super) async fn changed(&self) {
        self.changes.notified().await;
    }

    /// A file that is away for the moment of its replacement does not take the token away.
    async fn look(&self, file: &Path) {
        let (path, before) = (file.to_owned(), self.held().changed);
        let look = move || (is_open_to_all(&path), read_if_changed(&path, before));
        let looked = tokio::task::spawn_blocking(look).await;
        let (is_open_to_all, read) = looked.unwrap_or_default();
        let mut held = self.held();
        held.looked = Some(Instant::now());
        if let Some(is_open_to_all) = is_open_to_all {
            let before = std::mem::replace(&mut held.is_open_to_all, is_open_to_all);
            if is_open_to_all && !before {
                held.warnings = held.warnings.saturating_add(1);
                warn_of(file);
            }
        }
        let Some((changed, token)) = read else { return };
        let had_one = held.token.as_ref();
        let is_new = had_one.is_none_or(|before| !before.is_same(&token));
        let replaces = is_new && had_one.is_some();
        held.changed = changed;
        if is_new {
            held.token = Some(Arc::new(token));
        }
        drop(held);
        if replaces {
            self.changes.notify_one();
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for TokenKeeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKeeper").field("file", &self.file).finish_non_exhaustive()
    }
}

/// A start refuses such a file. To refuse it here would take down a seal that works, for an agent that
/// writes it otherwise than before.
fn warn_of(file: &Path) {
    let file = file.display();
    tracing::warn!(
        %file,
        advice = %format_args!(
            "chmod 0600 {file}, have whoever writes it keep that mode, and replace the token: the next \
             start of Selkie refuses the file, unless \"allow_readable_secrets = true\""
        ),
        "the file of a seal's token is open to every user; the token in it is used all the same"
    );
}

/// `None` for a file that is not there.
fn is_open_to_all(path: &Path) -> Option<bool> {
    path.metadata().ok().map(|metadata| metadata.mode() & 0o006 != 0)
}

fn read_if_changed(path: &Path, before: Option<SystemTime>) -> Option<(Option<SystemTime>, Token)> {
    let metadata = path.metadata().ok().filter(|metadata| metadata.len() <= LARGEST_FILE)?;
    let changed = metadata.modified().ok();
    if before.is_some() && changed == before {
        return None;
    }
    let text = WipedVec::new(std::fs::read(path).ok()?);
    Some((changed, Token::new(&text)?))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::time::advance;
    use zeroize::Zeroizing;

    use super::*;

    async fn text(keeper: &TokenKeeper) -> Option<String> {
        let token = keeper.current().await.ok()??;
        Some(String::from_utf8(token.expose_for_header().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_given_token_is_one_line_and_none_is_none() {
        let given = TokenKeeper::new(TokenSource::Given(Zeroizing::new("hvs.x\n".into())));
        assert_eq!(text(&given).await.as_deref(), Some("hvs.x"));
        let nowhere = TokenKeeper::new(TokenSource::Nowhere);
        assert!(matches!(nowhere.current().await, Ok(None)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_is_read_again_when_it_changes_and_its_absence_takes_nothing_away() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let keeper = TokenKeeper::new(TokenSource::File(path.clone()));
        assert!(matches!(keeper.current().await, Err(NoToken)));
        fs::write(&path, "one\n").unwrap();
        advance(LOOK).await;
        assert_eq!(text(&keeper).await.as_deref(), Some("one"));
        fs::write(&path, "two\n").unwrap();
        let later = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
        fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        assert_eq!(text(&keeper).await.as_deref(), Some("one"), "looked at a moment ago");
        let refused = keeper.current().await.unwrap().unwrap();
        let fresh = keeper.other_than(&refused).await.unwrap();
        assert_eq!(fresh.expose_for_header(), b"two");
        keeper.changed().await;
        assert!(keeper.other_than(&fresh).await.is_none());
        fs::remove_file(&path).unwrap();
        advance(LOOK).await;
        assert_eq!(text(&keeper).await.as_deref(), Some("two"));
        fs::write(&path, " \n").unwrap();
        advance(LOOK).await;
        assert_eq!(text(&keeper).await.as_deref(), Some("two"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_opened_to_every_user_is_used_and_warned_of_once() {
        use std::os::unix::fs::PermissionsExt;

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let keeper = TokenKeeper::new(TokenSource::File(path.clone()));
        fs::write(&path, "one\n").unwrap();
        for (mode, warnings) in [(0o600, 0), (0o644, 1), (0o644, 1), (0o600, 1), (0o604, 2)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            advance(LOOK).await;
            assert_eq!(text(&keeper).await.as_deref(), Some("one"), "{mode:o}");
            assert_eq!(keeper.held().warnings, warnings, "{mode:o}");
        }
    }

    #[test]
    fn what_cannot_be_sent_is_no_token() {
        for bad in ["", " ", "a b", "a\nb", "ä", "a\u{7f}"] {
            assert!(Token::new(bad.as_bytes()).is_none(), "{bad:?}");
        }
    }
}
