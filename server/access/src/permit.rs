//! Permits: the proof that the policy check allowed one operation on one thing (I9).
//!
//! Only [`Check::permit`] and its siblings make them. A permit carries what was checked, so an
//! operation takes nothing else that names a key; it cannot be cloned, so one check allows one
//! request.

use std::fmt;
use std::marker::PhantomData;

use crate::acl::Acl;
use crate::capability::Capability;
use crate::names::{KeyName, MountPath};
use crate::operation::{Encrypt, EncryptUpsert, KeyOperation};
use crate::request::Request;

/// The policies do not allow it. Why is nobody's business but the operator's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("permission denied")]
pub struct Denied;

/// The right to carry out the operation `O` on one key, once.
///
/// ```
/// use selkie_access::{Acl, Bare, Permit, Policy, operation::Decrypt};
///
/// fn decrypt(permit: Permit<Decrypt>) -> String {
///     permit.key().to_string()
/// }
///
/// let acl = Acl::new([&Policy::root()]);
/// let permit = acl.on(Bare).permit(Decrypt, "transit".parse()?, "autounseal".parse()?)?;
/// assert_eq!(permit.path(), "transit/decrypt/autounseal");
/// assert_eq!(decrypt(permit), "autounseal");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A permit for another operation is of no use:
///
/// ```compile_fail,E0308
/// # use selkie_access::{Acl, Bare, Permit, Policy, operation::{Decrypt, Encrypt}};
/// # fn decrypt(permit: Permit<Decrypt>) -> String {
/// #     permit.key().to_string()
/// # }
/// # let acl = Acl::new([&Policy::root()]);
/// let permit = acl.on(Bare).permit(Encrypt, "transit".parse()?, "autounseal".parse()?)?;
/// decrypt(permit);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Nor can one be used twice,
///
/// ```compile_fail,E0382
/// # use selkie_access::{Acl, Bare, Permit, Policy, operation::Decrypt};
/// # fn decrypt(permit: Permit<Decrypt>) -> String {
/// #     permit.key().to_string()
/// # }
/// # let acl = Acl::new([&Policy::root()]);
/// let permit = acl.on(Bare).permit(Decrypt, "transit".parse()?, "autounseal".parse()?)?;
/// decrypt(permit);
/// decrypt(permit);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// or be made without the check:
///
/// ```compile_fail,E0451
/// # use selkie_access::{Permit, operation::Decrypt};
/// # use std::marker::PhantomData;
/// let permit: Permit<Decrypt> = Permit {
///     mount: "transit".parse()?,
///     key: "autounseal".parse()?,
///     path: "transit/decrypt/autounseal".into(),
///     operation: PhantomData,
/// };
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub struct Permit<O> {
    mount: MountPath,
    key: KeyName,
    path: Box<str>,
    operation: PhantomData<O>,
}

impl<O> Permit<O> {
    /// Where the key is.
    #[must_use]
    pub fn mount(&self) -> &MountPath {
        &self.mount
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &KeyName {
        &self.key
    }

    /// The request path that was checked.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl Permit<EncryptUpsert> {
    /// The right to encrypt under the key that this permit has created.
    pub fn into_encrypt(self) -> Permit<Encrypt> {
        let Self { mount, key, path, .. } = self;
        Permit { mount, key, path, operation: PhantomData }
    }
}

/// The right to list the keys of a mount, once.
#[derive(Debug)]
#[must_use]
pub struct ListPermit {
    mount: MountPath,
    path: Box<str>,
}

impl ListPermit {
    /// The mount.
    #[must_use]
    pub fn mount(&self) -> &MountPath {
        &self.mount
    }

    /// The request path that was checked.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

/// The right to use one capability on a path outside the secrets engines, once.
#[derive(Debug)]
#[must_use]
pub struct PathPermit {
    path: Box<str>,
    capability: Capability,
}

impl PathPermit {
    /// The request path that was checked.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The capability that was checked.
    #[must_use]
    pub fn capability(&self) -> Capability {
        self.capability
    }
}

/// What the policies of a client say to one request of it.
#[derive(Clone, Copy, Debug)]
pub struct Check<'a, R> {
    acl: &'a Acl,
    request: R,
}

impl Acl {
    /// What these policies say to `request`, whose parameters they may look at.
    pub const fn on<R: Request>(&self, request: R) -> Check<'_, R> {
        Check { acl: self, request }
    }
}

impl<R: Request> Check<'_, R> {
    /// Allows an operation on a key, or does not. Whether an encryption is an `Encrypt` or an
    /// `EncryptUpsert` is for the caller to say, who knows whether the key exists.
    pub fn permit<O: KeyOperation>(
        &self,
        _: O,
        mount: MountPath,
        key: KeyName,
    ) -> Result<Permit<O>, Denied> {
        let path = [mount.as_str(), O::BEFORE_KEY, key.as_str(), O::AFTER_KEY].concat();
        self.require(&path, O::CAPABILITY)?;
        Ok(Permit { mount, key, path: path.into(), operation: PhantomData })
    }

    /// Allows listing the keys of a mount, or does not.
    pub fn permit_list(&self, mount: MountPath) -> Result<ListPermit, Denied> {
        let path = [mount.as_str(), "/keys/"].concat();
        self.require(&path, Capability::List)?;
        Ok(ListPermit { mount, path: path.into() })
    }

    /// Allows a capability on a path outside the secrets engines (`sys/…`, `auth/…`), or does not.
    /// The path of a list gets the slash at its end that Vault gives it.
    pub fn check(&self, path: &str, capability: Capability) -> Result<PathPermit, Denied> {
        let slash = match capability {
            Capability::List if !path.ends_with('/') => "/",
            _ => "",
        };
        let path = [path, slash].concat();
        self.require(&path, capability)?;
        Ok(PathPermit { path: path.into(), capability })
    }

    fn require(&self, path: &str, capability: Capability) -> Result<(), Denied> {
        match self.acl.admits(path, capability, &self.request) {
            true => Ok(()),
            false => Err(Denied),
        }
    }
}

impl<O: KeyOperation> fmt::Debug for Permit<O> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Permit({:?} on {})", O::CAPABILITY, self.path)
    }
}

#[cfg(test)]
mod tests;
