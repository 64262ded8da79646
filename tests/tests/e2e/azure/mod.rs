//! The master key in Azure Key Vault, which `selkie-emulator` plays.

mod authorities;
mod bad_input;
mod emulator;
mod faults;
mod memory;
mod moved;
mod vault;

use std::sync::OnceLock;

use anyhow::{Context, Result};
use selkie_tests::{Client, Emulator, Selkie, Site, until};
use serde_json::{Value, json};

/// A Key Vault, and the files of a server whose only seal is in it.
pub(crate) struct Azure {
    pub(crate) emulator: Emulator,
    pub(crate) site: Site,
    /// The token of the client `vault`, who may do everything.
    pub(crate) token: String,
}

impl Azure {
    pub(crate) fn new() -> Result<Self> {
        Self::at(Emulator::with(Some(objects()?))?)
    }

    /// With this key, in the form of the emulator's vaults file, instead of the default one.
    pub(crate) fn with_key(key: &Value) -> Result<Self> {
        let mut objects = objects()?.clone();
        objects["vaults"][0]["keys"] = json!([key]);
        Self::at(Emulator::with(Some(&objects))?)
    }

    /// With another vault in the place of the default one, `kv2`, which is empty.
    fn empty_vault() -> Result<Emulator> {
        let mut objects = objects()?.clone();
        objects["vaults"][0]["name"] = json!("kv2");
        objects["vaults"][0]["keys"] = json!([]);
        Emulator::with(Some(&objects))
    }

    fn at(emulator: Emulator) -> Result<Self> {
        let mut site = Site::new()?;
        site.seal_type = "azurekeyvault";
        site.seal = stanza(&emulator);
        let data_dir = site.dir().join("data");
        std::fs::create_dir(&data_dir)?;
        site.extra = format!("data_dir = {data_dir:?}\n");
        let token = site.client("vault", &["root"], "period = \"1h\"")?;
        Ok(Self { emulator, site, token })
    }

    /// Starts the server and waits until it encrypts.
    pub(crate) fn start(&self) -> Result<Selkie> {
        let selkie = self.site.start()?;
        let client = selkie.client().with_token(&self.token);
        until("the master key is confirmed", || Ok((encrypt(&client)?.0 == 200).then_some(())))
            .with_context(|| selkie.log())?;
        Ok(selkie)
    }
}

/// The fields of a seal in the emulator's default key, by the machine's managed identity.
pub(crate) fn stanza(emulator: &Emulator) -> String {
    format!(
        "  endpoint = \"{}\"\n  resource = \"vault.azure.net\"\n  key_name = \"selkie\"\n  \
         ca_file = {:?}\n  imds_endpoint = \"{}\"\n  poll_interval = \"1s\"\n",
        emulator.url(),
        emulator.ca_file(),
        emulator.http_url(),
    )
}

/// The emulator's default objects with keys that are there already: making one takes it as long as
/// everything else together.
fn objects() -> Result<&'static Value> {
    static OBJECTS: OnceLock<Value> = OnceLock::new();
    if let Some(objects) = OBJECTS.get() {
        return Ok(objects);
    }
    let made = Emulator::new()?.control("GET", "state", &Value::Null)?;
    Ok(OBJECTS.get_or_init(|| made))
}

/// Status and ciphertext of an encryption with the declared key.
pub(crate) fn encrypt(client: &Client) -> Result<(u16, String)> {
    let answer = client.put("transit/encrypt/autounseal", &json!({ "plaintext": "c2VjcmV0" }))?;
    let ciphertext = answer.json()["data"]["ciphertext"].as_str().unwrap_or_default().to_owned();
    Ok((answer.status, ciphertext))
}

/// Status of a decryption, whose plaintext is checked.
pub(crate) fn decrypt(client: &Client, ciphertext: &str) -> Result<u16> {
    let body = json!({ "ciphertext": ciphertext });
    let answer = client.put("transit/decrypt/autounseal", &body)?;
    if answer.status == 200 {
        assert_eq!(answer.field("plaintext")?, "c2VjcmV0");
    }
    Ok(answer.status)
}
