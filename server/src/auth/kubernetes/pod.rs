//! What Kubernetes tells a server that runs in it.

use std::path::PathBuf;

use zeroize::Zeroizing;

/// What Kubernetes puts into every pod, if Selkie runs in one.
#[derive(Debug)]
pub(super) struct Pod {
    folder: PathBuf,
}

/// More than any token or bundle has.
const LIMIT: u64 = 256 * 1024;

impl Default for Pod {
    fn default() -> Self {
        Self { folder: PathBuf::from("/var/run/secrets/kubernetes.io/serviceaccount") }
    }
}

impl Pod {
    #[cfg(test)]
    pub(super) const fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The pod's own token, as it is now.
    pub(super) async fn token(&self) -> Option<Zeroizing<String>> {
        let text = self.read("token").await?;
        let line = text.trim();
        (!line.is_empty()).then(|| Zeroizing::new(line.to_owned()))
    }

    /// The CA certificates of the cluster, as they are now.
    pub(super) async fn ca_certificate(&self) -> Option<String> {
        let text = self.read("ca.crt").await?;
        Some(text.as_str().to_owned())
    }

    /// On a thread that may wait: the file may lie on a disk that hangs.
    async fn read(&self, name: &str) -> Option<Zeroizing<String>> {
        let path = self.folder.join(name);
        let read = tokio::task::spawn_blocking(move || {
            // A file that is not there is the usual case outside a cluster.
            let small = std::fs::metadata(&path).is_ok_and(|file| file.len() <= LIMIT);
            if small { std::fs::read_to_string(path).ok().map(Zeroizing::new) } else { None }
        });
        read.await.ok().flatten()
    }
}
