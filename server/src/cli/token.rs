//! `selkie token`: what `vault token` does, on a running server.

mod table;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::time::Duration;

use clap::Subcommand;
use http::Method;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use self::table::table;
use super::arguments::Format;
use super::remote::{Remote, RemoteError, ServerArguments};
use super::{CommandError, print, single_threaded};

const PATIENCE: Duration = Duration::from_secs(30);
/// Longer than any token.
const MOST_TOKEN_BYTES: u64 = 16 << 10;

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token.
    Create(Create),
    /// Print what is known of a token; without one, of the own.
    Lookup(OfToken),
    /// Renew a token; without one, the own.
    Renew(Renew),
    /// End a token and all that came from it.
    Revoke(Revoke),
    /// Print the accessors of all tokens.
    List(Asking),
}

#[derive(Debug, clap::Args)]
pub(super) struct Asking {
    #[command(flatten)]
    server: ServerArguments,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

#[derive(Debug, clap::Args)]
pub(super) struct Create {
    /// A policy that the token has; may be given several times. By default those of the own token.
    #[arg(long, value_name = "NAME")]
    policy: Vec<String>,
    /// How long it lives at first, as "24h".
    #[arg(long)]
    ttl: Option<String>,
    /// What each renewal is worth: a token with a period lives as long as it is renewed.
    #[arg(long)]
    period: Option<String>,
    /// The most that renewals can make of it.
    #[arg(long, value_name = "TTL")]
    explicit_max_ttl: Option<String>,
    /// A name for it.
    #[arg(long, value_name = "NAME")]
    display_name: Option<String>,
    /// Make it live on when the own token ends; needs sudo.
    #[arg(long)]
    orphan: bool,
    /// Make it by this token role.
    #[arg(long)]
    role: Option<String>,
    /// "service", or "batch": kept nowhere, not renewable, not revocable by itself.
    #[arg(long, value_name = "TYPE")]
    r#type: Option<String>,
    /// How many requests it is good for.
    #[arg(long, value_name = "COUNT")]
    use_limit: Option<u32>,
    /// What is to be known of it; may be given several times.
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    metadata: Vec<(String, String)>,
    /// Leave out the policy "default".
    #[arg(long)]
    no_default_policy: bool,
    /// Make it one that cannot be renewed.
    #[arg(long)]
    not_renewable: bool,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Debug, clap::Args)]
pub(super) struct OfToken {
    /// The token, or "-" to read it from the standard input, where no list of processes shows it.
    token: Option<String>,
    /// Its accessor instead.
    #[arg(long, conflicts_with = "token")]
    accessor: Option<String>,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Debug, clap::Args)]
pub(super) struct Renew {
    #[command(flatten)]
    of: OfToken,
    /// How long it is to live from now on, as "24h"; of no meaning for one with a period.
    #[arg(long)]
    increment: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Revoke {
    #[command(flatten)]
    of: OfToken,
    /// End the own token.
    #[arg(long = "self", conflicts_with_all = ["token", "accessor"])]
    own: bool,
    /// End the token alone: what came from it lives on. Needs sudo.
    #[arg(long, conflicts_with_all = ["own", "accessor"])]
    orphan: bool,
}

/// A text is no `KEY=VALUE`.
#[derive(Debug, thiserror::Error)]
#[error("expected KEY=VALUE")]
struct NotAPair;

fn pair(text: &str) -> Result<(String, String), NotAPair> {
    let (key, value) = text.split_once('=').ok_or(NotAPair)?;
    Ok((key.to_owned(), value.to_owned()))
}

pub(super) fn run(command: TokenCommand, output: &mut dyn Write) -> Result<(), CommandError> {
    let TokenRequest { asking, method, path, right, body } = match command {
        TokenCommand::Create(create) => create.request(),
        TokenCommand::Lookup(of) => of.request("lookup", Map::new())?,
        TokenCommand::Renew(Renew { of, increment }) => {
            let fields = increment.map(|text| ("increment".to_owned(), json!(text)));
            of.request("renew", fields.into_iter().collect())?
        }
        TokenCommand::Revoke(revoke) => revoke.request()?,
        TokenCommand::List(asking) => {
            let list = Method::from_bytes(b"LIST").unwrap_or(Method::GET);
            let path = "auth/token/accessors/".to_owned();
            TokenRequest { asking, method: list, path, right: "list and sudo", body: None }
        }
    };
    let runtime = single_threaded()?;
    let server = Remote::of(&asking.server, PATIENCE)?;
    let answer = runtime.block_on(server.tell(method, &path, body.as_ref(), right))?;
    print(output, &told(&answer, asking.format)?)
}

/// What a command asks a server.
struct TokenRequest {
    asking: Asking,
    method: Method,
    path: String,
    /// What a policy must grant for it.
    right: &'static str,
    body: Option<Value>,
}

impl TokenRequest {
    fn post(asking: Asking, path: String, body: Map<String, Value>) -> Self {
        let body = Some(Value::Object(body));
        Self { asking, method: Method::POST, path, right: "update", body }
    }
}

impl Create {
    fn request(self) -> TokenRequest {
        let path = match &self.role {
            Some(role) => format!("auth/token/create/{role}"),
            None => "auth/token/create".to_owned(),
        };
        let metadata: BTreeMap<_, _> = self.metadata.into_iter().collect();
        let texts = [
            ("ttl", self.ttl),
            ("period", self.period),
            ("explicit_max_ttl", self.explicit_max_ttl),
            ("display_name", self.display_name),
            ("type", self.r#type),
        ];
        let texts = texts.into_iter().filter_map(|(name, text)| Some((name, json!(text?))));
        let mut body: Map<_, _> = texts.map(|(name, text)| (name.to_owned(), text)).collect();
        let flags = [("no_parent", self.orphan), ("no_default_policy", self.no_default_policy)];
        for (name, _) in flags.into_iter().filter(|(_, is_set)| *is_set) {
            body.insert(name.to_owned(), json!(true));
        }
        if self.not_renewable {
            body.insert("renewable".to_owned(), json!(false));
        }
        if !self.policy.is_empty() {
            body.insert("policies".to_owned(), json!(self.policy));
        }
        if !metadata.is_empty() {
            body.insert("meta".to_owned(), json!(metadata));
        }
        if let Some(count) = self.use_limit {
            body.insert("num_uses".to_owned(), json!(count));
        }
        TokenRequest::post(self.asking, path, body)
    }
}

impl OfToken {
    fn request(
        self,
        verb: &str,
        mut body: Map<String, Value>,
    ) -> Result<TokenRequest, CommandError> {
        let path = match (self.token, self.accessor) {
            (Some(token), _) => {
                body.insert("token".to_owned(), json!(&*given(token)?));
                format!("auth/token/{verb}")
            }
            (None, Some(accessor)) => {
                body.insert("accessor".to_owned(), json!(accessor));
                format!("auth/token/{verb}-accessor")
            }
            // The policy "default" grants read alone.
            (None, None) if verb == "lookup" => {
                let (asking, path) = (self.asking, "auth/token/lookup-self".to_owned());
                let method = Method::GET;
                return Ok(TokenRequest { asking, method, path, right: "read", body: None });
            }
            (None, None) => format!("auth/token/{verb}-self"),
        };
        Ok(TokenRequest::post(self.asking, path, body))
    }
}

impl Revoke {
    fn request(self) -> Result<TokenRequest, CommandError> {
        let Self { of, own, orphan } = self;
        if !own && of.token.is_none() && of.accessor.is_none() {
            return Err(RemoteError::NothingNamed.into());
        }
        of.request(if orphan { "revoke-orphan" } else { "revoke" }, Map::new())
    }
}

/// The token that was given, or the one on the standard input.
fn given(token: String) -> Result<Zeroizing<String>, CommandError> {
    let token = Zeroizing::new(token);
    if *token != "-" {
        return Ok(token);
    }
    let mut text = Zeroizing::new(String::new());
    let read = std::io::stdin().take(MOST_TOKEN_BYTES).read_to_string(&mut text);
    read.map_err(|_unreadable| RemoteError::UnfitToken)?;
    Ok(Zeroizing::new(text.trim().to_owned()))
}

fn told(answer: &Value, format: Format) -> Result<Zeroizing<String>, CommandError> {
    let mut text = match format {
        _ if answer.is_null() => {
            return Ok(Zeroizing::new("Success! Revoked token (if it existed)\n".to_owned()));
        }
        Format::Table => table(answer),
        Format::Json => {
            let json = serde_json::to_string_pretty(answer);
            Zeroizing::new(json.map_err(|_unprintable| RemoteError::Unreadable)?)
        }
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
