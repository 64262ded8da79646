//! Which files a server opens after its start, by its configuration: those of a reload, those that
//! are read again when they change, and those that it writes.

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use selkie_config::{
    AuditKind, AzureIdentity, ClientCertificates, Config, Endpoint, Listener, SealKind, Storage,
    TransitSeal, UpstreamToken,
};
use selkie_kms::pkcs11::Launcher;
use selkie_sandbox::Allowed;

use super::HardeningError;
use crate::seal::launcher;

/// What every server reads, in directories that packages and the system replace files in. Most is
/// for name resolution (glibc loads its parts of it when they are first needed) and for the
/// system's certificate authorities, which are read anew whenever a client is built.
const SYSTEM: [&str; 22] = [
    "/etc",
    "/usr",
    "/lib",
    "/lib64",
    // Where these are links to, on some systems.
    "/nix/store",
    "/gnu/store",
    "/var/lib/ca-certificates",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
    "/run/nscd",
    "/var/lib/sss",
    // What Kubernetes puts into a pod.
    "/var/run/secrets/kubernetes.io",
    // How many processors there are, what memory is used, where time zones are.
    "/proc/self",
    "/proc/sys",
    // Who has an audit file.
    "/proc/locks",
    "/proc/meminfo",
    "/proc/stat",
    "/sys/fs/cgroup",
    "/sys/devices/system",
    "/dev/urandom",
    "/dev/random",
];

/// What stays allowed to a server with this configuration, which was read from `files`. The
/// directories that it writes to are made, so that they can be allowed.
pub(super) fn needs(config: &Config, files: &[PathBuf]) -> Result<Allowed, HardeningError> {
    let mut read: Vec<PathBuf> = SYSTEM.map(PathBuf::from).into();
    read.extend(named_by_variables(|name| std::env::var_os(name)));
    read.extend(places_of(Path::new("/etc/resolv.conf")));
    read.extend(files.iter().chain(&files_of(config)).flat_map(|file| places_of(file)));
    let mut write = vec![PathBuf::from("/dev/null")];
    for directory in data_directories(config) {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&directory);
        made.map_err(|source| HardeningError::Directory { path: directory.clone(), source })?;
        write.push(directory);
    }
    for file in written_files(config) {
        write.push(writable_place_of(&file)?);
    }
    Ok(Allowed { read, write, listen: ports(config) })
}

/// What variables name to be read; a link is followed by the kernel when it is allowed.
fn named_by_variables(variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let certificates = variable("SSL_CERT_FILE").map(PathBuf::from);
    let certificates = certificates.iter().flat_map(|file| places_of(file));
    // A list with colons, as OpenSSL has it.
    let directories = variable("SSL_CERT_DIR").unwrap_or_default();
    let directories = std::env::split_paths(&directories).filter(|one| !one.as_os_str().is_empty());
    let credentials = variable("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    certificates.chain(directories).chain(credentials).collect()
}

/// The files that `config` names, but for those whose content is part of it.
pub(super) fn files_of(config: &Config) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = config.listeners.iter().flat_map(files_of_listener).collect();
    let declared = config.clients.iter().filter_map(|client| client.certificate.as_ref());
    for authorities in declared.filter_map(|certificate| certificate.authorities.as_ref()) {
        files.push(authorities.ca_file.clone());
        files.extend(authorities.crl_files.iter().cloned());
    }
    if let Some(Storage::Etcd(etcd)) = &config.storage {
        files.extend(etcd.ca_file.clone());
        let certificate = etcd.client_certificate.as_ref();
        files.extend(certificate.map(|one| one.cert_file.clone()));
        files.extend(certificate.map(|one| one.key_file.clone()));
    }
    let webhook = config.alerts.as_ref().and_then(|alerts| alerts.webhook.as_ref());
    files.extend(webhook.and_then(|webhook| webhook.ca_file.clone()));
    let tracing = config.telemetry.tracing.as_ref();
    files.extend(tracing.and_then(|tracing| tracing.ca_file.clone()));
    let takeovers = config.takeovers.iter().map(|takeover| &takeover.server);
    let seals = config.seals.iter().filter_map(|seal| match &seal.kind {
        SealKind::Transit(seal) => Some(&**seal),
        _ => None,
    });
    files.extend(seals.chain(takeovers).flat_map(files_of_upstream));
    files.extend(config.seals.iter().filter_map(|seal| token_file(&seal.kind)));
    files
}

fn files_of_listener(listener: &Listener) -> Vec<PathBuf> {
    let Some(tls) = &listener.tls else { return Vec::new() };
    let mut files = vec![tls.cert_file.clone(), tls.key_file.clone()];
    match &tls.client_certificates {
        ClientCertificates::Optional(authorities) | ClientCertificates::Required(authorities) => {
            files.push(authorities.ca_file.clone());
            files.extend(authorities.crl_files.iter().cloned());
        }
        ClientCertificates::NotRequested => {}
    }
    files
}

fn files_of_upstream(upstream: &TransitSeal) -> Vec<PathBuf> {
    let token = match &upstream.token {
        UpstreamToken::File(path) => Some(path.clone()),
        UpstreamToken::Given(_) | UpstreamToken::Nowhere => None,
    };
    let certificate = upstream.client_certificate.iter();
    let certificate = certificate.flat_map(|(chain, key)| [chain.clone(), key.clone()]);
    token.into_iter().chain(certificate).collect()
}

/// The token of Kubernetes, say, which is read whenever one of Entra's is needed.
fn token_file(kind: &SealKind) -> Option<PathBuf> {
    let SealKind::AzureKeyVault(seal) = kind else { return None };
    match &seal.identity {
        AzureIdentity::WorkloadIdentity { token_file, .. } => Some(token_file.clone()),
        _ => None,
    }
}

fn data_directories(config: &Config) -> Vec<PathBuf> {
    let sled = match &config.storage {
        Some(Storage::Sled(sled)) => Some(sled.path.clone()),
        _ => None,
    };
    config.data_dir.iter().cloned().chain(sled).collect()
}

/// The files that `config` has written.
pub(super) fn written_files(config: &Config) -> Vec<PathBuf> {
    let audit = config.audit.devices.iter().filter_map(|device| match &device.kind {
        AuditKind::File(file) => Some(file.path.clone()),
        AuditKind::Syslog(_) | AuditKind::Socket(_) => None,
    });
    audit.chain(config.pid_file.clone()).collect()
}

fn ports(config: &Config) -> Vec<u16> {
    let listeners = config.listeners.iter().filter_map(|listener| match listener.endpoint {
        Endpoint::Address(address) => Some(address.port()),
        Endpoint::ActivatedName(_) | Endpoint::ActivatedIndex(_) => None,
    });
    listeners.chain(config.telemetry.metrics.map(|metrics| metrics.address.port())).collect()
}

/// What has to be readable for a file that others replace: its directory, by name and behind links,
/// never the file alone, whose inode goes with the next rename. A directory that is not there yet
/// stands for the nearest one above. The root directory stands for nothing: a file there is allowed
/// alone.
fn places_of(file: &Path) -> Vec<PathBuf> {
    let directories = [file.to_owned()].into_iter().chain(file.canonicalize());
    let places = directories.map(|path| {
        let mut above = path.ancestors().skip(1);
        let there = above.find(|directory| directory.is_dir()).filter(|place| !is_root(place));
        there.map_or_else(|| path.clone(), Path::to_owned)
    });
    places.collect()
}

/// Where a file that we write may be made anew; the file alone if it is a device, say.
fn writable_place_of(file: &Path) -> Result<PathBuf, HardeningError> {
    if file.metadata().is_ok_and(|metadata| !metadata.is_file()) {
        return Ok(file.to_owned());
    }
    let directory = file.parent().filter(|directory| !directory.as_os_str().is_empty());
    let directory = directory.unwrap_or_else(|| Path::new("."));
    if is_root(directory) {
        return Err(HardeningError::WritesInRoot { path: file.to_owned() });
    }
    Ok(directory.to_owned())
}

fn is_root(path: &Path) -> bool {
    path.canonicalize().is_ok_and(|path| path.parent().is_none())
}

/// What HSM processes are started by, once each.
pub(super) fn launchers(config: &Config) -> Vec<Launcher> {
    let mut launchers: Vec<Launcher> = Vec::new();
    for seal in &config.seals {
        if let SealKind::Pkcs11(seal) = &seal.kind {
            let one = launcher(seal);
            if !launchers.contains(&one) {
                launchers.push(one);
            }
        }
    }
    launchers
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_directories_of_a_file_are_allowed_by_name_and_behind_links() {
        let dir = tempfile::tempdir().unwrap();
        let [live, archive] = ["live", "archive"].map(|name| dir.path().join(name));
        fs::create_dir(&live).unwrap();
        fs::create_dir(&archive).unwrap();
        fs::write(archive.join("cert1.pem"), "").unwrap();
        symlink("../archive/cert1.pem", live.join("cert.pem")).unwrap();
        let archive = archive.canonicalize().unwrap();
        assert_eq!(places_of(&live.join("cert.pem")), [live.clone(), archive]);
        let missing = live.join("not/yet/token");
        assert_eq!(places_of(&missing), [live]);
    }

    #[test]
    fn certificates_of_the_environment_are_allowed_by_their_directories() {
        let dir = tempfile::tempdir().unwrap();
        let roots = dir.path().canonicalize().unwrap().join("roots");
        fs::create_dir(&roots).unwrap();
        let file = roots.join("all.pem");
        let named = named_by_variables(|name| match name {
            "SSL_CERT_FILE" => Some(file.clone().into()),
            "SSL_CERT_DIR" => Some("/a/certs:/b/certs:".into()),
            "CREDENTIALS_DIRECTORY" => Some("/run/credentials/selkie".into()),
            _ => None,
        });
        let others = ["/a/certs", "/b/certs", "/run/credentials/selkie"].map(PathBuf::from);
        assert_eq!(named[0], roots, "not the file, which is replaced by rename");
        assert!(named.ends_with(&others), "{named:?}");
        assert_eq!(named_by_variables(|_| None), [] as [PathBuf; 0]);
    }

    #[test]
    fn the_root_directory_is_never_allowed() {
        assert_eq!(places_of(Path::new("/selkie.hcl")), [Path::new("/selkie.hcl")]);
        assert_eq!(
            places_of(Path::new("/no-such-directory/file")),
            [Path::new("/no-such-directory/file")]
        );
        let refused = writable_place_of(Path::new("/audit.log"));
        assert!(matches!(refused, Err(HardeningError::WritesInRoot { .. })));
        assert_eq!(writable_place_of(Path::new("/dev/null")).unwrap(), Path::new("/dev/null"));
    }
}
