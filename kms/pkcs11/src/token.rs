//! The library, the token and the login, which all sessions share.

use std::sync::{Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::MechanismType;
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;
use selkie_pkcs11_protocol::{Class, Failure, Open, SlotChoice, Stage, Token as TokenFacts};

use crate::failure::{failed, failure};

/// A token that we may log in to.
pub(crate) struct Token {
    module: Pkcs11,
    choice: SlotChoice,
    pin: AuthPin,
    /// What the token has said against the PIN. Locked while anyone logs in: one try at a time.
    refused: Mutex<Option<Failure>>,
}

impl Token {
    /// Loads the library, finds the token and logs in.
    pub(crate) fn open(open: &Open) -> Result<(Self, TokenFacts), Failure> {
        let at_library = |error| failed(Stage::Library, &error);
        let module = Pkcs11::new(&open.library).map_err(at_library)?;
        module
            .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
            .map_err(at_library)?;
        let pin = str::from_utf8(&open.pin).or(Err(failure(
            Stage::Login,
            Class::Odd,
            "the PIN is no text",
        )))?;
        let pin = AuthPin::new(pin.to_owned().into_boxed_str());
        let token = Self { module, choice: open.slot.clone(), pin, refused: Mutex::default() };
        let (slot, info) = token.find_slot()?;
        let facts = token.facts(slot, &info)?;
        // Held by nobody: the first call opens its own. It shows whether the PIN is right.
        token.session()?;
        Ok((token, facts))
    }

    /// A new session that is logged in.
    pub(crate) fn session(&self) -> Result<Session, Failure> {
        let (slot, _) = self.find_slot()?;
        let opened = self.module.open_ro_session(slot);
        let session = opened.map_err(|error| failed(Stage::Login, &error))?;
        self.log_in(slot, &session)?;
        Ok(session)
    }

    fn find_slot(&self) -> Result<(Slot, TokenInfo), Failure> {
        let at_slot = |error| failed(Stage::Slot, &error);
        let mut fitting = Vec::new();
        let mut seen = Vec::new();
        for slot in self.module.get_slots_with_token().map_err(at_slot)? {
            // Of another slot's troubles we need to know nothing.
            let Ok(info) = self.module.get_token_info(slot) else { continue };
            seen.push(format!("{} {:?} serial {}", slot.id(), info.label(), info.serial_number()));
            if fits(&self.choice, slot, &info) {
                fitting.push((slot, info));
            }
        }
        match (fitting.pop(), fitting.is_empty()) {
            (Some(found), true) => Ok(found),
            (Some(_), false) => Err(failure(Stage::Slot, Class::SeveralSlots, seen.join(", "))),
            (None, _) if seen.is_empty() => {
                Err(failure(Stage::Slot, Class::NoSlot, "no slot has a token"))
            }
            (None, _) => Err(failure(Stage::Slot, Class::NoSlot, seen.join(", "))),
        }
    }

    fn facts(&self, slot: Slot, info: &TokenInfo) -> Result<TokenFacts, Failure> {
        let listed = self.module.get_mechanism_list(slot);
        let listed = listed.map_err(|error| failed(Stage::Slot, &error))?;
        let lists = |mechanism| listed.contains(&mechanism);
        let model = format!("{} {}", info.manufacturer_id(), info.model());
        Ok(TokenFacts {
            serial: info.serial_number().trim_end().to_owned(),
            label: info.label().trim_end().to_owned(),
            model: model.trim_end().to_owned(),
            slot: slot.id(),
            aes_gcm: lists(MechanismType::AES_GCM),
            aes_key_wrap: lists(MechanismType::AES_KEY_WRAP),
            rsa_oaep: lists(MechanismType::RSA_PKCS_OAEP),
        })
    }

    /// Logs in, unless another session has: the login is the process's. Tokens count wrong PINs and
    /// lock themselves, so one that was refused is never sent again, and the last try never made.
    /// Whether it is the last one they are asked each time.
    fn log_in(&self, slot: Slot, session: &Session) -> Result<(), Failure> {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(refused) = &*refused {
            return Err(refused.clone());
        }
        let at_login = |error| failed(Stage::Login, &error);
        let state = session.get_session_info().map_err(at_login)?.session_state();
        if !matches!(state, SessionState::RoPublic | SessionState::RwPublic) {
            return Ok(());
        }
        let outcome = self.spare_last_try(slot).and_then(|()| self.try_pin(session));
        if let Err(failure) = &outcome
            && matches!(failure.class, Class::PinRefused | Class::PinLocked)
        {
            *refused = Some(failure.clone());
        }
        outcome
    }

    fn spare_last_try(&self, slot: Slot) -> Result<(), Failure> {
        let info = self.module.get_token_info(slot);
        let info = info.map_err(|error| failed(Stage::Login, &error))?;
        let spared = |said| Err(failure(Stage::Login, Class::PinSpared, said));
        if info.user_pin_locked() {
            return spared("CKF_USER_PIN_LOCKED");
        }
        if info.user_pin_final_try() { spared("CKF_USER_PIN_FINAL_TRY") } else { Ok(()) }
    }

    fn try_pin(&self, session: &Session) -> Result<(), Failure> {
        use cryptoki::error::{Error, RvError};
        match session.login(UserType::User, Some(&self.pin)) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            Err(error) => Err(failed(Stage::Login, &error)),
        }
    }
}

fn fits(choice: &SlotChoice, slot: Slot, info: &TokenInfo) -> bool {
    let SlotChoice { id, token_label, serial } = choice;
    let same = |wanted: &Option<String>, found: &str| {
        wanted.as_deref().is_none_or(|wanted| wanted == found.trim_end())
    };
    info.token_initialized()
        && id.is_none_or(|id| id == slot.id())
        && same(token_label, info.label())
        && same(serial, info.serial_number())
}
