//! What is done in one session.

use std::collections::BTreeMap;

use cryptoki::error::Error;
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use selkie_memory::WipedVec;
use selkie_pkcs11_protocol::{
    Class, Failure, KeyName, Mechanism as Way, NONCE_BYTES, Reply, Request, SECRET_BYTES, Stage,
    Witness,
};

use crate::failure::{failed, failure, is_ambiguous};
use crate::keys::{self, oaep_sha256};
use crate::token::Token;

/// The tag of AES-GCM.
const TAG_BITS: u64 = 128;
const TAG_BYTES: usize = 16;

/// A session that is opened when it is needed, and anew when it was lost.
pub(crate) struct Worker<'t> {
    token: &'t Token,
    open: Option<OpenSession>,
}

struct OpenSession {
    session: Session,
    /// Handles hold for a session; keys are looked up once in each.
    handles: BTreeMap<(KeyName, bool), ObjectHandle>,
}

impl<'t> Worker<'t> {
    pub(crate) const fn new(token: &'t Token) -> Self {
        Self { token, open: None }
    }

    /// Does it, once more in a new session if the first is lost. An old one that finds no key may
    /// have lost its login, and be open all the same: it sees no private objects.
    pub(crate) fn answer(&mut self, request: &Request) -> Reply {
        let is_old = self.open.is_some();
        let mut outcome = self.attempt(request);
        let is_to_be_tried_again = match &outcome {
            Err(Failure { class, .. }) => {
                *class == Class::Lost || (is_old && *class == Class::NoKey)
            }
            Ok(Reply::Keys(keys)) => is_old && keys.is_empty(),
            Ok(_) => false,
        };
        if is_to_be_tried_again {
            self.open = None;
            outcome = self.attempt(request);
        }
        outcome.unwrap_or_else(Reply::Failed)
    }

    fn attempt(&mut self, request: &Request) -> Result<Reply, Failure> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => OpenSession { session: self.token.session()?, handles: BTreeMap::new() },
        };
        let outcome = open.perform(request);
        let is_spent = matches!(request, Request::Inspect(_))
            || matches!(&outcome, Err(Failure { class: Class::Lost | Class::Odd, .. }));
        if !is_spent {
            self.open = Some(open);
        }
        outcome
    }
}

impl OpenSession {
    fn perform(&mut self, request: &Request) -> Result<Reply, Failure> {
        match request {
            Request::Open(_) => Err(failure(Stage::Library, Class::Odd, "it is open")),
            Request::Inspect(selector) => keys::inspect(&self.session, selector).map(Reply::Keys),
            Request::Wrap { key, mechanism, nonce, dek } => {
                let handle = self.handle(key, *mechanism)?;
                let wrapped = self.wrap(handle, *mechanism, nonce, dek);
                wrapped.map(Reply::Wrapped).map_err(|error| failed(Stage::Wrap, &error))
            }
            Request::Unwrap { key, mechanism, wrapped, witness } => {
                let handle = self.handle(key, *mechanism)?;
                match self.unwrap(handle, *mechanism, wrapped) {
                    Ok(dek) if dek.len() == SECRET_BYTES => Ok(Reply::Dek(dek)),
                    Ok(_) if *mechanism == Way::RsaOaepSha256 => {
                        // Anyone can encrypt anything under a public key.
                        Err(failure(Stage::Unwrap, Class::Rejected, "not 32 bytes"))
                    }
                    Ok(_) => Err(failure(Stage::Unwrap, Class::Odd, "not 32 bytes")),
                    Err(error) => Err(self.judge(handle, *mechanism, witness.as_ref(), &error)),
                }
            }
        }
    }

    fn handle(&mut self, key: &KeyName, mechanism: Way) -> Result<ObjectHandle, Failure> {
        let is_pair = mechanism == Way::RsaOaepSha256;
        if let Some(handle) = self.handles.get(&(key.clone(), is_pair)) {
            return Ok(*handle);
        }
        let class = if is_pair { ObjectClass::PRIVATE_KEY } else { ObjectClass::SECRET_KEY };
        let handle = keys::find(&self.session, class, key)?;
        self.handles.insert((key.clone(), is_pair), handle);
        Ok(handle)
    }

    fn wrap(
        &self,
        key: ObjectHandle,
        mechanism: Way,
        nonce: &[u8; NONCE_BYTES],
        dek: &[u8],
    ) -> Result<Vec<u8>, Error> {
        match mechanism {
            Way::AesGcm => self.wrap_gcm(key, nonce, dek),
            Way::AesKeyWrap => self.wrap_key(key, dek),
            // The parent has the public key.
            Way::RsaOaepSha256 => Err(Error::NotSupported),
        }
    }

    fn wrap_gcm(
        &self,
        key: ObjectHandle,
        nonce: &[u8; NONCE_BYTES],
        dek: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let mut nonce = *nonce;
        let encrypted = {
            let gcm = GcmParams::new(&mut nonce, &[], TAG_BITS.into())?;
            self.session.encrypt(&Mechanism::AesGcm(gcm), key, dek)?
        };
        if encrypted.len() != SECRET_BYTES + TAG_BYTES {
            return Err(Error::InvalidValue);
        }
        // After the call: a token that chooses nonces itself has written its own there.
        Ok([nonce.as_slice(), &encrypted].concat())
    }

    /// `C_WrapKey` wraps objects: the DEK is one for as long as that takes.
    fn wrap_key(&self, key: ObjectHandle, dek: &[u8]) -> Result<Vec<u8>, Error> {
        let mut template = dek_template();
        template.push(Attribute::Value(dek.to_vec()));
        let object = self.session.create_object(&template)?;
        let wrapped = self.session.wrap_key(&Mechanism::AesKeyWrap, key, object);
        self.session.destroy_object(object)?;
        let wrapped = wrapped?;
        if wrapped.len() == SECRET_BYTES + 8 { Ok(wrapped) } else { Err(Error::InvalidValue) }
    }

    fn unwrap(&self, key: ObjectHandle, mechanism: Way, wrapped: &[u8]) -> Result<WipedVec, Error> {
        match mechanism {
            Way::AesGcm => {
                let (nonce, encrypted) =
                    wrapped.split_first_chunk::<NONCE_BYTES>().ok_or(Error::InvalidValue)?;
                let mut nonce = *nonce;
                let gcm = GcmParams::new(&mut nonce, &[], TAG_BITS.into())?;
                self.session.decrypt(&Mechanism::AesGcm(gcm), key, encrypted).map(WipedVec::new)
            }
            Way::AesKeyWrap => self.unwrap_key(key, wrapped),
            Way::RsaOaepSha256 => {
                self.session.decrypt(&oaep_sha256(), key, wrapped).map(WipedVec::new)
            }
        }
    }

    fn unwrap_key(&self, key: ObjectHandle, wrapped: &[u8]) -> Result<WipedVec, Error> {
        let mechanism = Mechanism::AesKeyWrap;
        let object = self.session.unwrap_key(&mechanism, key, wrapped, &dek_template())?;
        let value = self.session.get_attributes(object, &[AttributeType::Value]);
        self.session.destroy_object(object)?;
        match value?.pop() {
            Some(Attribute::Value(value)) => Ok(WipedVec::new(value)),
            _ => Err(Error::InvalidValue),
        }
    }

    /// Whether a failed unwrap is the fault of what was sent: so it is, if the same session unwraps
    /// what it wraps itself, or says why nobody may wrap. Of a pair the parent finds out, who has the
    /// public key.
    fn judge(
        &mut self,
        key: ObjectHandle,
        mechanism: Way,
        witness: Option<&Witness>,
        error: &Error,
    ) -> Failure {
        let seen = failed(Stage::Unwrap, error);
        let may_be_tried = mechanism != Way::RsaOaepSha256 && is_ambiguous(error);
        if seen.class != Class::Rejected || !may_be_tried {
            return seen;
        }
        let mut probed = self.probe(key, mechanism);
        // Nothing was wrapped, which the key may be forbidden, or the token for this mechanism.
        if let Probed::NotWrapped(why) = &probed
            && !matches!(why.class, Class::Busy | Class::Lost)
            && let Some(Witness { key, mechanism }) = witness
        {
            let handle = self.handle(key, *mechanism);
            probed = handle.map_or_else(Probed::NotUnwrapped, |key| self.probe(key, *mechanism));
        }
        match probed {
            Probed::Opens => seen,
            Probed::NotWrapped(why) if matches!(why.class, Class::Unfit | Class::NotPermitted) => {
                seen
            }
            // It cannot tell now, and serves others meanwhile.
            Probed::NotWrapped(why) | Probed::NotUnwrapped(why) if why.class == Class::Busy => {
                Failure { stage: seen.stage, ..why }
            }
            _ => Failure { class: Class::Lost, ..seen },
        }
    }

    fn probe(&self, key: ObjectHandle, mechanism: Way) -> Probed {
        let (probe, nonce) = ([0x5e; SECRET_BYTES], [0x5e; NONCE_BYTES]);
        let wrapped = match self.wrap(key, mechanism, &nonce, &probe) {
            Ok(wrapped) => wrapped,
            Err(error) => return Probed::NotWrapped(failed(Stage::Wrap, &error)),
        };
        match self.unwrap(key, mechanism, &wrapped) {
            Ok(found) if *found == probe => Probed::Opens,
            Ok(_) => Probed::NotUnwrapped(failure(Stage::Unwrap, Class::Odd, "another plaintext")),
            Err(error) => Probed::NotUnwrapped(failed(Stage::Unwrap, &error)),
        }
    }
}

/// What became of something that was wrapped to see whether it opens.
enum Probed {
    Opens,
    NotWrapped(Failure),
    NotUnwrapped(Failure),
}

/// A DEK as an object of this session alone.
fn dek_template() -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Sensitive(false),
        Attribute::Extractable(true),
    ]
}
