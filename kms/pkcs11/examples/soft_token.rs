//! Makes tokens and keys in a software HSM for tests, over its PKCS#11 library:
//! `soft_token LIBRARY LABEL PIN COMMAND`, where the token has the label and the command is one of
//! `init`, `aes KEY_LABEL ID` (a 256-bit key that does everything), `gcm` and `wrap` (one that does
//! only this), `aes128`, `import KEY_LABEL ID KEY` (an AES key of somebody else), `rsa KEY_LABEL ID`,
//! `retire KEY_LABEL ID` (it encrypts and wraps no more), `delete KEY_LABEL ID`, `calls COUNT` (so
//! many unwraps over each of 1 and 16 sessions of the bare library; prints calls a second). Ids and
//! keys are hex.

use std::env::args;
use std::error::Error;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

const SO_PIN: &str = "87654321";

fn main() -> Outcome {
    let arguments: Vec<String> = args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [library, token, pin, command @ ..] = &arguments[..] else {
        return Err("soft_token LIBRARY LABEL PIN COMMAND".into());
    };
    let module = Pkcs11::new(library)?;
    module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))?;
    let pin = AuthPin::new((*pin).into());
    if let ["init"] = command {
        return init(&module, token, &pin);
    }
    let slot = slot_of(&module, token)?;
    let session = module.open_rw_session(slot)?;
    session.login(UserType::User, Some(&pin))?;
    match command {
        ["rsa", label, id] => make_rsa(&session, label, id),
        ["import", label, id, key] => import_aes(&session, label, id, key),
        ["retire", label, id] => retire(&session, label, id),
        ["delete", label, id] => delete(&session, label, id),
        ["calls", count] => calls(&module, slot, &session, count.parse()?),
        [kind, label, id] => make_aes(&session, kind, label, id),
        _ => Err("no such command".into()),
    }
}

fn slot_of(module: &Pkcs11, label: &str) -> Outcome<Slot> {
    for slot in module.get_slots_with_initialized_token()? {
        if module.get_token_info(slot)?.label().trim_end() == label {
            return Ok(slot);
        }
    }
    Err("no such token".into())
}

/// In the first slot that has no token yet.
fn init(module: &Pkcs11, label: &str, pin: &AuthPin) -> Outcome {
    let so_pin = AuthPin::new(SO_PIN.into());
    for slot in module.get_slots_with_token()? {
        if !module.get_token_info(slot)?.token_initialized() {
            module.init_token(slot, &so_pin, label)?;
            let session = module.open_rw_session(slot)?;
            session.login(UserType::So, Some(&so_pin))?;
            return Ok(session.init_pin(pin)?);
        }
    }
    Err("no slot is free".into())
}

fn bytes(hex: &str) -> Outcome<Vec<u8>> {
    Ok(base16ct::lower::decode_vec(hex)?)
}

fn named(class: ObjectClass, label: &str, id: &str) -> Outcome<Vec<Attribute>> {
    let id = bytes(id)?;
    let label = label.as_bytes().to_vec();
    Ok(vec![
        Attribute::Class(class),
        Attribute::Token(true),
        Attribute::Label(label),
        Attribute::Id(id),
    ])
}

fn make_aes(session: &Session, kind: &str, label: &str, id: &str) -> Outcome {
    let (bytes, encrypts, wraps) = match kind {
        "aes" => (32, true, true),
        "gcm" => (32, true, false),
        "wrap" => (32, false, true),
        "aes128" => (16, true, true),
        _ => return Err("no such command".into()),
    };
    let mut template = named(ObjectClass::SECRET_KEY, label, id)?;
    template.extend([
        Attribute::ValueLen(bytes.into()),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Encrypt(encrypts),
        Attribute::Decrypt(encrypts),
        Attribute::Wrap(wraps),
        Attribute::Unwrap(wraps),
    ]);
    session.generate_key(&Mechanism::AesKeyGen, &template)?;
    Ok(())
}

fn import_aes(session: &Session, label: &str, id: &str, key: &str) -> Outcome {
    let mut template = named(ObjectClass::SECRET_KEY, label, id)?;
    template.extend([
        Attribute::KeyType(KeyType::AES),
        Attribute::Value(bytes(key)?),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
        Attribute::Wrap(true),
        Attribute::Unwrap(true),
    ]);
    session.create_object(&template)?;
    Ok(())
}

fn make_rsa(session: &Session, label: &str, id: &str) -> Outcome {
    let mut public = named(ObjectClass::PUBLIC_KEY, label, id)?;
    public.extend([
        Attribute::ModulusBits(2048.into()),
        Attribute::PublicExponent(vec![1, 0, 1]),
        Attribute::Encrypt(true),
    ]);
    let mut private = named(ObjectClass::PRIVATE_KEY, label, id)?;
    private.extend([
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Decrypt(true),
    ]);
    session.generate_key_pair(&Mechanism::RsaPkcsKeyPairGen, &public, &private)?;
    Ok(())
}

fn retire(session: &Session, label: &str, id: &str) -> Outcome {
    for object in session.find_objects(&named(ObjectClass::SECRET_KEY, label, id)?)? {
        let retired = [Attribute::Encrypt(false), Attribute::Wrap(false)];
        session.update_attributes(object, &retired)?;
    }
    Ok(())
}

fn delete(session: &Session, label: &str, id: &str) -> Outcome {
    for class in [ObjectClass::SECRET_KEY, ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY] {
        for object in session.find_objects(&named(class, label, id)?)? {
            session.destroy_object(object)?;
        }
    }
    Ok(())
}

/// Unwraps as `selkie-pkcs11` does, without it.
fn calls(module: &Pkcs11, slot: Slot, session: &Session, count: usize) -> Outcome {
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Token(true),
    ];
    let key = *session.find_objects(&template)?.first().ok_or("no key")?;
    let mut nonce = [7; 12];
    let gcm = Mechanism::AesGcm(GcmParams::new(&mut nonce, &[], 128.into())?);
    let wrapped: Arc<[u8]> = session.encrypt(&gcm, key, &[9; 32])?.into();
    for sessions in [1, 16] {
        let began = Instant::now();
        let threads: Vec<_> = (0..sessions)
            .map(|_| {
                let (session, wrapped) = (module.open_ro_session(slot)?, Arc::clone(&wrapped));
                Ok(thread::spawn(move || unwraps(&session, key, &wrapped, count / sessions)))
            })
            .collect::<Outcome<_>>()?;
        for thread in threads {
            thread.join().map_err(|_panic| "a thread has panicked")??;
        }
        let seconds = began.elapsed().as_secs_f64();
        #[expect(clippy::print_stdout, reason = "this is what it is for")]
        {
            println!("{sessions} {count} {seconds}");
        }
    }
    Ok(())
}

fn unwraps(session: &Session, key: ObjectHandle, wrapped: &[u8], count: usize) -> Outcome {
    for _ in 0..count {
        let mut nonce = [7; 12];
        let gcm = Mechanism::AesGcm(GcmParams::new(&mut nonce, &[], 128.into())?);
        session.decrypt(&gcm, key, wrapped)?;
    }
    Ok(())
}
