//! What it takes to find out whose a token is and what it may do, with few and very many tokens. It
//! is the server's own code (`Auth::authenticate` and the permit) without HTTP and TLS around it. The
//! server holds all tokens in memory, whatever the store; with sled they were read from there first.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Write as _, stdout};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use selkie::auth::tokens::{NewToken, TokenKind};
use selkie::auth::{Auth, Credentials};
use selkie::clock::SystemClock;
use selkie::deployment::Deployment;
use selkie_access::{Bare, TokenText, operation};
use selkie_config::{Config, SystemSources};
use selkie_crypto::{StateKey, os_random};
use selkie_storage::{MemoryStore, Page, SledSettings, SledStore, Store, Write};

const LOOKUPS: usize = 200_000;
/// The best of so many: whatever else the machine does only adds time.
const ROUNDS: usize = 5;
/// So many of the tokens are at work at a time, in the figure that says so.
const AT_WORK: usize = 1000;
/// How many records go into one commit while sled is filled.
const COMMIT: usize = 100;
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Measures the lookup of tokens and the check of their policies.
#[derive(Debug, clap::Args)]
pub(crate) struct Tokens {
    /// How many tokens there are.
    #[arg(long, default_values_t = [10, 1_000_000])]
    tokens: Vec<usize>,
}

impl Tokens {
    pub(crate) async fn run(self) -> Result<()> {
        let dir = tempfile::tempdir()?;
        let deployment = Deployment::connect(config(dir.path())?).await?;
        for &count in &self.tokens {
            let memory: Arc<dyn Store> = Arc::new(MemoryStore::new());
            let auth = attached(&memory).await?;
            let tokens = issue(&auth, count, TokenKind::Service).await?;
            print(&deployment, &auth, &format!("{count} tokens, memory"), &tokens).await?;
            drop(auth);
            let sled = SledSettings::new(dir.path().join(format!("sled-{count}")));
            let sled: Arc<dyn Store> = Arc::new(SledStore::open(sled).await?);
            copy(&*memory, &*sled).await?;
            drop(memory);
            let auth = attached(&sled).await?;
            print(&deployment, &auth, &format!("{count} tokens, sled"), &tokens).await?;
            let batch = issue(&auth, count.min(4 * AT_WORK), TokenKind::Batch).await?;
            let what = format!("{} batch tokens beside {count} others", batch.len());
            print(&deployment, &auth, &what, &batch).await?;
        }
        Ok(())
    }
}

fn config(dir: &Path) -> Result<Config> {
    let kek = dir.join("kek");
    fs::write(&kek, [7; 32])?;
    fs::set_permissions(&kek, fs::Permissions::from_mode(0o600))?;
    let text = format!(
        "realm = \"bench\"\nlistener \"tcp\" {{\n  address = \"127.0.0.1:0\"\n  tls_disable = true\n}}\n\
         seal \"static\" {{\n  current_key_id = \"k1\"\n  current_key = \"file://{}\"\n}}\n\
         key \"autounseal\" {{}}\n\
         policy \"seal\" {{\n  path \"transit/decrypt/autounseal\" {{ capabilities = [\"update\"] }}\n}}\n",
        kek.display()
    );
    let config = Config::parse("bench.hcl", &text, &SystemSources);
    config.map_err(|problems| anyhow::anyhow!("{problems}"))
}

async fn attached(store: &Arc<dyn Store>) -> Result<Auth> {
    let auth = Auth::new(true, Arc::new(SystemClock), Arc::new(os_random));
    let key = StateKey::init_with(|key| key.fill(9))?;
    auth.attach(Arc::clone(store), Arc::new(key)).await?;
    Ok(auth)
}

async fn issue(auth: &Auth, count: usize, kind: TokenKind) -> Result<Vec<TokenText>> {
    let mut tokens = Vec::with_capacity(count);
    for number in 0..count {
        let new = NewToken {
            display_name: format!("vault-{number}"),
            policies: vec!["default".parse()?, "seal".parse()?].into(),
            meta: BTreeMap::new(),
            path: "auth/token/create".into(),
            kind,
            parent: None,
            ttl: Some(Duration::from_hours(24)),
            explicit_max_ttl: None,
            period: (kind == TokenKind::Service).then_some(Duration::from_hours(24)),
            renewable: kind == TokenKind::Service,
            num_uses: 0,
            bound_cidrs: Vec::new(),
            role: None,
            bound_certificate: None,
            login: None,
        };
        tokens.push(auth.issue(new).await?.text);
    }
    Ok(tokens)
}

async fn copy(from: &dyn Store, to: &dyn Store) -> Result<()> {
    let mut next = Some(Page::all_in_bulk());
    while let Some(page) = next {
        let listing = from.list(&page).await?;
        for records in listing.records.chunks(COMMIT) {
            let put = |record: &selkie_storage::Record| {
                Write::Put(record.key.clone(), record.value.clone())
            };
            to.commit(&[], &records.iter().map(put).collect::<Vec<_>>()).await?;
        }
        next = listing.next;
    }
    Ok(())
}

async fn print(
    deployment: &Deployment,
    auth: &Auth,
    what: &str,
    tokens: &[TokenText],
) -> Result<()> {
    let mut shown = vec![("all in turn", tokens)];
    if let Some(at_work) = tokens.get(..AT_WORK) {
        shown.push(("1,000 of them at work", at_work));
    }
    for (turn, tokens) in shown {
        let mut best = Duration::MAX;
        for _ in 0..ROUNDS {
            best = best.min(round(deployment, auth, tokens).await?);
        }
        let micros = best.as_secs_f64() * 1e6;
        writeln!(stdout(), "token and policy check, {what}, {turn}\t{micros:.2} us")?;
    }
    Ok(())
}

/// What one lookup and check takes, over tokens in no order.
async fn round(deployment: &Deployment, auth: &Auth, tokens: &[TokenText]) -> Result<Duration> {
    let began = Instant::now();
    let mut at = 0;
    for _ in 0..LOOKUPS {
        at = (at + 7919) % tokens.len();
        let token = tokens.get(at).context("no tokens")?;
        let credentials = Credentials { token: Some(token), certificate: None, address: HERE };
        let client = auth.authenticate(deployment, credentials).await?;
        let (mount, key) = ("transit".parse()?, "autounseal".parse()?);
        let _permit =
            std::hint::black_box(client.acl.on(Bare).permit(operation::Decrypt, mount, key)?);
    }
    Ok(began.elapsed() / u32::try_from(LOOKUPS)?)
}
