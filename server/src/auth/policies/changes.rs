//! Changes of managed policies. One that is declared cannot be changed (invariant I6).

use selkie_access::{PolicyError, PolicyName};

use super::{ManagedPolicy, Policies};
use crate::deployment::Deployment;
use crate::state::records::{Batch, Records, RecordsError};

/// How often a change is made anew on what another replica has made of the policy meanwhile.
const ATTEMPTS: usize = 8;

/// Why a policy was not changed.
#[derive(Debug, thiserror::Error)]
pub enum PolicyChangeError {
    /// It is declared (I6).
    #[error("the policy is declared at {at}")]
    Declared {
        /// Where: file, and line if it stands in the configuration file itself.
        at: Box<str>,
    },
    /// `root` is what it is.
    #[error("the policy is built in")]
    Root,
    /// `default` can be changed, but not be away.
    #[error("the policy is needed")]
    Default,
    /// The text is no policy.
    #[error(transparent)]
    Malformed(#[from] PolicyError),
    /// It could not be kept.
    #[error(transparent)]
    Records(#[from] RecordsError),
}

impl Policies {
    /// Makes the policy `name` say `text`.
    ///
    /// # Errors
    ///
    /// [`PolicyChangeError`].
    pub async fn put(
        &self,
        records: &Records,
        deployment: &Deployment,
        name: &PolicyName,
        text: &str,
    ) -> Result<(), PolicyChangeError> {
        require_managed(deployment, name)?;
        let policy = ManagedPolicy::parse(name, text)?;
        let put = |batch: &mut Batch| {
            let at = self.managed.get(name)?.map(|current| current.revision);
            batch.put(name, &policy, at).map_err(RecordsError::from)
        };
        Ok(commit(records, put).await?)
    }

    /// Removes the policy `name`, if there is one.
    ///
    /// # Errors
    ///
    /// [`PolicyChangeError`].
    pub async fn delete(
        &self,
        records: &Records,
        deployment: &Deployment,
        name: &PolicyName,
    ) -> Result<(), PolicyChangeError> {
        require_managed(deployment, name)?;
        if *name == PolicyName::default_policy() {
            return Err(PolicyChangeError::Default);
        }
        // Another replica may have made it a moment ago.
        records.find(&self.managed, name, None).await?;
        let delete = |batch: &mut Batch| match self.managed.get(name)? {
            Some(current) => Ok(batch.delete::<ManagedPolicy>(name, current.revision)?),
            None => Ok(()),
        };
        Ok(commit(records, delete).await?)
    }
}

fn require_managed(deployment: &Deployment, name: &PolicyName) -> Result<(), PolicyChangeError> {
    if name.is_root() {
        return Err(PolicyChangeError::Root);
    }
    match deployment.policies.iter().find(|policy| policy.name() == name) {
        Some(declared) => Err(PolicyChangeError::Declared { at: declared.place().into() }),
        None => Ok(()),
    }
}

async fn commit(
    records: &Records,
    change: impl Fn(&mut Batch) -> Result<(), RecordsError>,
) -> Result<(), RecordsError> {
    records.store()?;
    for _ in 0..ATTEMPTS {
        let mut batch = Batch::default();
        change(&mut batch)?;
        if batch.is_empty() {
            return Ok(());
        }
        match records.commit(&batch).await {
            Err(RecordsError::Conflict) => {}
            decided => return decided,
        }
    }
    Err(RecordsError::Conflict)
}
