//! What a token says of its keys.

use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use selkie_pkcs11_protocol::{Class, Failure, KeyFacts, KeyKind, KeyName, Selector, Stage, Uses};

use crate::failure::{failed, failure};

/// More keys than this under one label are not told of: nobody could choose.
const MOST_KEYS: usize = 16;

/// The secret and private keys that match. RSA keys are tried, so that the session has an operation
/// under way afterwards and is of no more use.
pub(crate) fn inspect(session: &Session, selector: &Selector) -> Result<Vec<KeyFacts>, Failure> {
    let mut keys = Vec::new();
    for class in [ObjectClass::SECRET_KEY, ObjectClass::PRIVATE_KEY] {
        let template = template(class, selector.label.as_deref(), selector.id.as_deref());
        let found = session.find_objects(&template);
        for handle in found.map_err(|error| failed(Stage::Key, &error))? {
            keys.push(facts(session, handle)?);
        }
    }
    if keys.len() > MOST_KEYS {
        let said = format!("{} keys", keys.len());
        return Err(failure(Stage::Key, Class::SeveralKeys, said));
    }
    Ok(keys)
}

/// The one object of this class and name.
pub(crate) fn find(
    session: &Session,
    class: ObjectClass,
    name: &KeyName,
) -> Result<ObjectHandle, Failure> {
    let template = template(class, Some(&name.label), Some(&name.id));
    let found = session.find_objects(&template);
    match &*found.map_err(|error| failed(Stage::Key, &error))? {
        [] => Err(failure(Stage::Key, Class::NoKey, "C_FindObjects finds nothing")),
        [one] => Ok(*one),
        several => {
            let said = format!("C_FindObjects finds {} of them", several.len());
            Err(failure(Stage::Key, Class::SeveralKeys, said))
        }
    }
}

fn template(class: ObjectClass, label: Option<&[u8]>, id: Option<&[u8]>) -> Vec<Attribute> {
    let mut template = vec![Attribute::Class(class), Attribute::Token(true)];
    template.extend(label.map(|label| Attribute::Label(label.to_vec())));
    template.extend(id.map(|id| Attribute::Id(id.to_vec())));
    template
}

fn facts(session: &Session, handle: ObjectHandle) -> Result<KeyFacts, Failure> {
    let wanted = [
        AttributeType::KeyType,
        AttributeType::Label,
        AttributeType::Id,
        AttributeType::Encrypt,
        AttributeType::Decrypt,
        AttributeType::Wrap,
        AttributeType::Unwrap,
        AttributeType::Extractable,
        AttributeType::ValueLen,
        AttributeType::Modulus,
        AttributeType::PublicExponent,
    ];
    let attributes = session.get_attributes(handle, &wanted);
    let attributes = attributes.map_err(|error| failed(Stage::Key, &error))?;
    let mut name = KeyName { label: Vec::new(), id: Vec::new() };
    let (mut uses, mut extractable, mut numbers) = (Uses::default(), false, Numbers::default());
    for attribute in attributes {
        match attribute {
            Attribute::Label(label) => name.label = label,
            Attribute::Id(id) => name.id = id,
            Attribute::Encrypt(may) => uses.encrypt = may,
            Attribute::Decrypt(may) => uses.decrypt = may,
            Attribute::Wrap(may) => uses.wrap = may,
            Attribute::Unwrap(may) => uses.unwrap = may,
            Attribute::Extractable(may) => extractable = may,
            other => numbers.take(other),
        }
    }
    let kind = numbers.kind(session, handle, &name)?;
    Ok(KeyFacts { name, kind, uses, extractable })
}

/// What makes a key the one that it is.
#[derive(Default)]
struct Numbers {
    key_type: Option<KeyType>,
    bytes: u16,
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

impl Numbers {
    fn take(&mut self, attribute: Attribute) {
        match attribute {
            Attribute::KeyType(key_type) => self.key_type = Some(key_type),
            Attribute::ValueLen(bytes) => self.bytes = u16::try_from(*bytes).unwrap_or(u16::MAX),
            Attribute::Modulus(modulus) => self.modulus = modulus,
            Attribute::PublicExponent(exponent) => self.exponent = exponent,
            _ => {}
        }
    }

    fn kind(
        self,
        session: &Session,
        handle: ObjectHandle,
        name: &KeyName,
    ) -> Result<KeyKind, Failure> {
        match self.key_type {
            Some(KeyType::AES) => Ok(KeyKind::Aes { bytes: self.bytes }),
            Some(KeyType::RSA) => {
                let exponent = match self.exponent.is_empty() {
                    true => public_exponent(session, name)?,
                    false => self.exponent,
                };
                let begun = session.decrypt_init(&oaep_sha256(), handle);
                Ok(KeyKind::Rsa { modulus: self.modulus, exponent, oaep_sha256: begun.is_ok() })
            }
            _ => Ok(KeyKind::Other),
        }
    }
}

/// Some tokens have it in the public key alone.
fn public_exponent(session: &Session, name: &KeyName) -> Result<Vec<u8>, Failure> {
    let public = find(session, ObjectClass::PUBLIC_KEY, name)?;
    let attributes = session.get_attributes(public, &[AttributeType::PublicExponent]);
    match attributes.map_err(|error| failed(Stage::Key, &error))?.pop() {
        Some(Attribute::PublicExponent(exponent)) => Ok(exponent),
        _ => Err(failure(Stage::Key, Class::Unfit, "no CKA_PUBLIC_EXPONENT")),
    }
}

pub(crate) fn oaep_sha256() -> Mechanism<'static> {
    let source = PkcsOaepSource::empty();
    let oaep = PkcsOaepParams::new(MechanismType::SHA256, PkcsMgfType::MGF1_SHA256, source);
    Mechanism::RsaPkcsOaep(oaep)
}
