//! `selkie break-glass serve`: the transit server of one Vault, on a laptop and for minutes.
//!
//! It is the server in full, with a configuration made up on the spot: the one key with the version
//! that the Vault's storage tells, so that the Vault sees no newer one and encrypts nothing anew.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf, absolute};
use std::pin::pin;
use std::str::FromStr;
use std::time::Duration;

use selkie_access::{KeyName, MountPath, NameError, TokenText};
use selkie_config::{
    Audit, AuditDevice, AuditFile, AuditKind, BreakGlassSeal, ClientCertificates, ClientName,
    Config, Seal, SealKind, Sources, SystemSources, Tls, TlsVersion,
};
use selkie_crypto::envelope::{Aad, Header, Purpose};
use selkie_crypto::{AuditKey, EcPrivateKeyError, SealName, os_random, sha256};
use selkie_listener::ActivatedSockets;
use tokio::time::sleep;
use tracing::{info, warn};
use zeroize::Zeroizing;

use super::BreakGlassError;
use super::blob::{Blob, read};
use super::key_file::{KeyArguments, Unlocked};
use super::wrapping::KnownSeals;
use crate::cli::server::signals::{Signals, Wish};
use crate::cli::{CommandError, multi_threaded, print};
use crate::clock::{Clock, SystemClock};
use crate::dev::{CertificateDir, DevError};
use crate::hardening::allow_connections;
use crate::seal_client::{NewToken, SealClient};
use crate::serve::{Server, serve};
use crate::telemetry::{LEVEL_VARIABLE, Telemetry};

/// How long requests under way have to finish at the end.
const GRACE: Duration = Duration::from_secs(10);
const LONGEST_MINUTES: u64 = 240;
const PINS_ALONE: &[u8] =
    b"WARNING: without --config nothing tells which seals are revoked or disabled: \
    leave each of them out with --without SEAL\n";

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    key: KeyArguments,
    /// The ciphertexts of that Vault, as "selkie extract" prints them.
    #[arg(long, value_name = "FILE")]
    blobs: String,
    /// Where the Vault finds this server.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8200")]
    listen: SocketAddr,
    /// The mount path in the Vault's seal stanza; by default the one in the newest ciphertext.
    #[arg(long)]
    mount: Option<MountPath>,
    /// The key's name in the Vault's seal stanza, which must be the one in the ciphertexts.
    #[arg(long, value_name = "NAME")]
    key_name: Option<String>,
    /// For how long.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=LONGEST_MINUTES))]
    minutes: u64,
    /// The configuration of the servers that are gone: for its static keys, its origin_key, and the
    /// pin files in its data_dir.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A directory with pin files (data_dir/pins of a server); you vouch for them.
    #[arg(long, value_name = "DIR")]
    pins: Option<PathBuf>,
    /// A seal that is lost for good: nothing is wrapped for it. May be given several times.
    #[arg(long, value_name = "SEAL", value_parser = SealName::new)]
    without: Vec<SealName>,
    /// The origin_key is lost for good: make envelopes without its proof.
    #[arg(long)]
    without_origin_key: bool,
    /// The token that the Vault has in its seal stanza; by default a new one is made and printed.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Where each request is recorded; by default a new file in this directory.
    #[arg(long, value_name = "FILE")]
    audit: Option<PathBuf>,
    /// A certificate (PEM) for TLS; by default one is made, and its authority printed.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's key.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Speak plain HTTP, to this machine alone.
    #[arg(long, conflicts_with = "tls_cert")]
    plain_http: bool,
}

pub(super) fn run(
    arguments: &Arguments,
    output: &mut dyn Write,
    errors: &mut dyn Write,
) -> Result<(), CommandError> {
    if arguments.plain_http && !arguments.listen.ip().is_loopback() {
        return Err(BreakGlassError::PlainHttp.into());
    }
    let blobs = read(&arguments.blobs)?;
    for blob in &blobs {
        write!(errors, "{blob}").map_err(CommandError::Output)?;
    }
    let mut known = KnownSeals::read(arguments.config.as_deref(), arguments.pins.clone())?;
    if known.is_of_pins_alone() {
        errors.write_all(PINS_ALONE).map_err(CommandError::Output)?;
    }
    let client = client(arguments, &blobs)?;
    let origin_key = known.config.as_mut().and_then(|config| config.origin_key.take());
    let has_origin = blobs.iter().any(|blob| blob.envelope.has_origin());
    if has_origin && origin_key.is_none() && !arguments.without_origin_key {
        return Err(BreakGlassError::NoOriginKey.into());
    }
    let audit = audit(arguments, &mut known)?;
    if blobs.iter().any(|blob| blob.envelope.needed() > 1) {
        return Err(BreakGlassError::QuorumServed.into());
    }
    let keys = arguments.key.unlock()?;
    // Each of them, before the Vault relies on it.
    for blob in &blobs {
        blob.open(&keys, Aad::default())?;
    }
    let of_all = |key: &Unlocked| blobs.iter().all(|blob| blob.is_for(key));
    let key = keys.into_iter().find(of_all).ok_or(BreakGlassError::NoKey)?;
    let seals = known.seals_of(&blobs, key, &arguments.without)?;
    drop(known);
    let config = config(arguments.listen, &blobs, &client, seals)?;
    let mut config = Config { origin_key, audit, ..config };
    tell(&config, arguments, errors)?;
    let certificates = secure(arguments, &mut config)?;
    start(arguments, config, &client, certificates.as_ref(), output)
}

/// The Vault that is served: the key and mount of its ciphertexts, and its token.
fn client(arguments: &Arguments, blobs: &[Blob]) -> Result<SealClient, CommandError> {
    let header = common_header(blobs)?;
    if let Some(asked) = arguments.key_name.as_ref().filter(|asked| **asked != *header.key) {
        let (found, asked) = (header.key.to_string(), asked.clone());
        return Err(BreakGlassError::OtherKey { found, asked }.into());
    }
    let token = match &arguments.token_file {
        None => NewToken::random()?,
        Some(path) => NewToken::chosen(token(path)?),
    };
    Ok(SealClient {
        name: ClientName::new("break-glass").map_err(DevError::from)?,
        key: named::<KeyName>(&header.key)?,
        mount: arguments.mount.clone().map_or_else(|| named(&header.mount), Ok)?,
        period: format!("{}m", arguments.minutes),
        token,
    })
}

fn named<N: FromStr<Err = NameError>>(name: &str) -> Result<N, BreakGlassError> {
    name.parse().map_err(|source| BreakGlassError::Name { name: name.to_owned(), source })
}

fn token(path: &Path) -> Result<Zeroizing<String>, CommandError> {
    let unreadable = |source| CommandError::Unreadable { path: path.to_owned(), source };
    let bytes = SystemSources.secret_file(path).map_err(unreadable)?;
    let token = bytes.trim_ascii();
    let text = str::from_utf8(token).ok().filter(|_| TokenText::from_header(token).is_ok());
    let text = text.ok_or_else(|| BreakGlassError::Token { path: path.to_owned() })?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// What all the ciphertexts are about, as the newest of them says it: a Vault keeps what it encrypted
/// before its realm or its mount was renamed.
fn common_header(blobs: &[Blob]) -> Result<&Header<'static>, BreakGlassError> {
    let headers = || blobs.iter().map(|blob| blob.envelope.header());
    let newest = headers().max_by_key(|header| (header.version, header.created));
    let newest = newest.ok_or(BreakGlassError::NoBlob)?;
    let of = |header: &Header<'static>| (header.purpose, header.key.clone());
    let is_one = headers().all(|header| of(header) == of(newest));
    if is_one && newest.purpose == Purpose::Client {
        Ok(newest)
    } else {
        Err(BreakGlassError::SeveralKeys)
    }
}

/// A configuration with these `seals`; it goes through the checks of a file's.
fn config(
    listen: SocketAddr,
    blobs: &[Blob],
    client: &SealClient,
    seals: Vec<Seal>,
) -> Result<Config, CommandError> {
    let Header { realm, version, .. } = common_header(blobs)?;
    let headers = || blobs.iter().map(|blob| blob.envelope.header());
    let realms: BTreeSet<_> = headers().map(|header| &*header.realm).collect();
    let mounts: BTreeSet<_> = headers().map(|header| &*header.mount).collect();
    let realm_aliases: Vec<_> = realms.into_iter().filter(|one| one != realm).collect();
    let aliases: Vec<_> = mounts.into_iter().filter(|one| *one != client.mount.as_str()).collect();
    let text = format!(
        "realm = {realm:?}\nrealm_aliases = {realm_aliases:?}\n\
         listener \"tcp\" {{\n  address = \"{listen}\"\n  tls_disable = true\n}}\n\
         mount \"{}\" {{\n  aliases = {aliases:?}\n}}\n\
         key \"{}\" {{\n  version = {version}\n}}\n{}{}",
        client.mount,
        client.key,
        client.declaration(),
        client.policy(),
    );
    Config::parse_around(seals, "(break-glass)", &text).map_err(CommandError::Config)
}

/// The file of the audit log, under the deployment's key if that is known: "selkie audit verify"
/// then verifies it.
fn audit(arguments: &Arguments, known: &mut KnownSeals) -> Result<Audit, CommandError> {
    let given = known.config.as_mut().and_then(|config| config.audit_key.take());
    let key = match given {
        Some(key) => key,
        None => {
            let mut drawn = Ok(());
            let key = AuditKey::init_with(|page| drawn = os_random(page));
            drawn?;
            key.map_err(EcPrivateKeyError::Page).map_err(BreakGlassError::from)?
        }
    };
    let path = arguments
        .audit
        .clone()
        .unwrap_or_else(|| format!("break-glass-audit-{}.log", SystemClock.unix_seconds()).into());
    let failed = |source| CommandError::File { path: path.clone(), source };
    let kind = AuditKind::File(AuditFile {
        path: absolute(&path).map_err(failed)?,
        mode: 0o600,
        fsync: true,
    });
    let device = AuditDevice {
        path: "file".into(),
        description: String::new(),
        checkpoint_interval: Duration::from_secs(60),
        kind,
    };
    Ok(Audit { key: Some(key), devices: vec![device] })
}

/// Says under which keys whatever the Vault encrypts meanwhile will open later, and what is kept of
/// it.
fn tell(
    config: &Config,
    arguments: &Arguments,
    errors: &mut dyn Write,
) -> Result<(), CommandError> {
    let mut text = String::from("wraps for:\n");
    for Seal { name, kind, .. } in &config.seals {
        text += &format!("  {name}: {}\n", told_key(kind));
    }
    for name in &arguments.without {
        text += &format!("  NOT for {name}, as you say that it is lost\n");
    }
    for device in &config.audit.devices {
        if let AuditKind::File(file) = &device.kind {
            text += &format!("records each request in {}\n", file.path.display());
        }
    }
    errors.write_all(text.as_bytes()).map_err(CommandError::Output)
}

fn told_key(kind: &SealKind) -> String {
    if let SealKind::Static(seal) = kind {
        return format!("{}, from the configuration", seal.current.id);
    }
    let SealKind::BreakGlass(BreakGlassSeal { kek, public_key, .. }) = kind else {
        return String::new();
    };
    let hex = base16ct::lower::encode_string(&sha256(public_key.spki_der()));
    let is_told = kek.as_str().ends_with(&hex);
    if is_told { kek.to_string() } else { format!("{kek}, public key sha256 {hex}") }
}

/// Puts TLS before the listener; certificates made for it live as long as what is returned.
fn secure(
    arguments: &Arguments,
    config: &mut Config,
) -> Result<Option<CertificateDir>, CommandError> {
    let made = match (&arguments.tls_cert, arguments.plain_http) {
        (None, false) => Some(
            CertificateDir::new(arguments.listen.ip(), "Selkie break-glass")
                .map_err(BreakGlassError::from)?,
        ),
        (Some(_), _) | (None, true) => None,
    };
    let files = match (&made, &arguments.tls_cert, &arguments.tls_key) {
        (Some(made), ..) => Some((made.certificate(), made.key())),
        (None, Some(cert), Some(key)) => Some((cert.clone(), key.clone())),
        (None, ..) => None,
    };
    let tls = files.map(|(cert_file, key_file)| Tls {
        cert_file,
        key_file,
        min_version: TlsVersion::Tls12,
        max_version: TlsVersion::Tls13,
        client_certificates: ClientCertificates::NotRequested,
    });
    for listener in &mut config.listeners {
        listener.tls.clone_from(&tls);
    }
    Ok(made)
}

fn start(
    arguments: &Arguments,
    config: Config,
    client: &SealClient,
    certificates: Option<&CertificateDir>,
    output: &mut dyn Write,
) -> Result<(), CommandError> {
    let level = SystemSources.variable(LEVEL_VARIABLE);
    let _telemetry = Telemetry::start(config.logging, level.as_ref().map(|level| &***level))?;
    allow_connections()?;
    let runtime = multi_threaded()?;
    runtime.block_on(async {
        let signals = Signals::new().map_err(CommandError::Runtime)?;
        let server = serve(config, &mut ActivatedSockets::inherit(None)).await?;
        print(output, &banner(arguments, &server, client, certificates))?;
        serve_for(server, signals, Duration::from_secs(60 * arguments.minutes)).await
    })
}

/// How the Vault is told of this server. It holds the token if it is a new one.
fn banner(
    arguments: &Arguments,
    server: &Server,
    client: &SealClient,
    certificates: Option<&CertificateDir>,
) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(4096));
    let authority = certificates.map(CertificateDir::authority_text);
    for listening in server.listening() {
        text.push_str(&format!("selkie: listening on {listening}\n"));
        if arguments.token_file.is_some() {
            continue;
        }
        text.push_str(
            "\nFor the Vault's configuration file, in place of its seal stanza. The token is new: to \
             leave\nthe Vault as it is, end this and give the token it has with --token-file.\n\n",
        );
        let url = listening.to_string();
        text.push_str(&client.seal_stanza(&url, authority.as_deref()));
    }
    text.push_str(&authority.as_deref().map(copy_of).unwrap_or_default());
    if let (Some(authority), true) = (&authority, arguments.token_file.is_some()) {
        text.push_str(&format!("The Vault's seal stanza needs tls_ca_cert = {authority:?}\n"));
    }
    let minutes = arguments.minutes;
    text.push_str(&format!("\nIt ends by itself after {minutes} min.\n"));
    text
}

/// What to do with the file of the authority, which the Vault looks for on its own host.
fn copy_of(authority: &str) -> String {
    format!(
        "\ntls_ca_cert: {authority} lies on this machine, until this ends. Copy it to the Vault's host, \
         and\nname where it lies there.\n"
    )
}

/// Serves until the time is over, or someone ends it before.
pub(super) async fn serve_for(
    mut server: Server,
    mut signals: Signals,
    time: Duration,
) -> Result<(), CommandError> {
    let mut over = pin!(sleep(time));
    let mut is_stopping = false;
    loop {
        tokio::select! {
            () = server.ended() => break,
            () = &mut over, if !is_stopping => {
                info!("the time is over: stopping");
                server.drain(GRACE);
                is_stopping = true;
            }
            wish = signals.next() => match wish {
                Wish::Reload => warn!("no reload: there is no configuration file"),
                Wish::Stop if is_stopping => server.drain(Duration::ZERO),
                Wish::Stop => {
                    info!("stopping");
                    server.drain(GRACE);
                    is_stopping = true;
                }
            },
        }
    }
    if is_stopping { Ok(()) } else { Err(CommandError::NobodyListens) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use selkie_crypto::EcPrivateKey;

    use super::super::tests::{Desk, PASSPHRASE, ciphertext_in};
    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    /// A recovery key that was made anew after a rename, beside the root key from before it.
    #[tokio::test]
    async fn a_vault_whose_realm_or_mount_was_renamed_is_served_with_all_of_its_ciphertexts() {
        let desk = Desk::new();
        let public_key = desk.keygen("key", &[]);
        for (old, new) in [
            (("was", "transit"), ("is", "transit")),
            (("is", "was"), ("is", "transit")),
            (("was", "was"), ("is", "transit")),
        ] {
            let mut lines = String::new();
            for (name, (realm, mount)) in [("old", old), ("new", new)] {
                let made = ciphertext_in(realm, mount, Some(&public_key)).await;
                lines += &format!("{name} v2 {made}\n");
            }
            std::fs::write(desk.path("blobs"), lines).unwrap();
            let blobs = read(&desk.path("blobs").display().to_string()).unwrap();
            let Line { arguments } =
                Line::parse_from(["serve", "--blobs", "-", "--mount", "transit"]);
            let text = std::fs::read_to_string(desk.path("key")).unwrap();
            let key = EcPrivateKey::unprotect(&text, PASSPHRASE.as_bytes()).unwrap();
            let mut known = KnownSeals::default();
            let given_up = [SealName::new("static").unwrap()];
            let seals = known.seals_of(&blobs, Unlocked::new(key).unwrap(), &given_up).unwrap();
            let client = client(&arguments, &blobs).unwrap();
            let config = config(arguments.listen, &blobs, &client, seals).unwrap();
            let realms = [&[config.realm][..], &config.realm_aliases].concat();
            let [mount] = &config.mounts[..] else { panic!("{:?}", config.mounts) };
            for blob in &blobs {
                let header = blob.envelope.header();
                assert!(realms.iter().any(|realm| *realm == header.realm), "{blob}");
                let mut names = std::iter::once(&mount.path).chain(&mount.aliases);
                assert!(names.any(|name| name.as_str() == header.mount), "{blob}");
            }
        }
    }

    #[test]
    fn the_authority_is_to_be_copied_to_the_vaults_host() {
        let told = copy_of("/tmp/x/ca.pem");
        assert!(told.contains("/tmp/x/ca.pem") && told.contains("Copy it to the Vault's host"));
    }
}
