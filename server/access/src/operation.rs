//! The operations on a key, each a type of its own, so that a permit for one is no permit for
//! another.

use crate::capability::Capability;

/// An operation on a key: which capability it takes, and on which path.
pub trait KeyOperation: sealed::Sealed {
    /// The capability.
    const CAPABILITY: Capability;
    /// What stands between the mount and the name of the key.
    const BEFORE_KEY: &'static str;
    /// What stands after the name of the key.
    const AFTER_KEY: &'static str;
}

mod sealed {
    #[expect(unnameable_types, reason = "that is what keeps other crates from adding operations")]
    pub trait Sealed {}
}

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident = $capability:ident $before:literal $after:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name;

        impl sealed::Sealed for $name {}

        impl KeyOperation for $name {
            const CAPABILITY: Capability = Capability::$capability;
            const BEFORE_KEY: &'static str = $before;
            const AFTER_KEY: &'static str = $after;
        }
    )*};
}

// Vault asks whether the thing exists for `encrypt/` alone; every other write is an update, that
// of a new key too.
operations! {
    /// Encrypt under a key that exists.
    Encrypt = Update "/encrypt/" "";
    /// Create the key by encrypting under it.
    EncryptUpsert = Create "/encrypt/" "";
    /// Decrypt.
    Decrypt = Update "/decrypt/" "";
    /// Bring a ciphertext to the newest key version.
    Rewrap = Update "/rewrap/" "";
    /// Read what is public of a key.
    ReadKey = Read "/keys/" "";
    /// Create a key by its name.
    CreateKey = Update "/keys/" "";
    /// Delete a key with all its versions.
    DeleteKey = Delete "/keys/" "";
    /// Change a key's settings.
    ConfigureKey = Update "/keys/" "/config";
    /// Make a new key version.
    RotateKey = Update "/keys/" "/rotate";
    /// Delete old key versions for good.
    TrimKey = Update "/keys/" "/trim";
}
