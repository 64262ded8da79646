//! From the stanza `seal "azurekeyvault"` to what the provider is told, and from its walk to what
//! `selkie doctor` prints.

use selkie_config::{
    AzureCertificate, AzureIdentity, AzureKeyVaultSeal, ProxyUrl, UserAssignedIdentity, WrapPlace,
};
use selkie_crypto::Random;
use selkie_kms::azure::{
    self as provider, AzureKeyVault, AzureSettings, ClientCertificate, Identity,
};

use super::examination::{Examined, Examiner, Finding, Report, Step};

/// What the provider is told of the seal.
pub(super) fn settings(seal: AzureKeyVaultSeal) -> AzureSettings {
    AzureSettings {
        endpoint: seal.endpoint,
        resource: seal.resource,
        key_name: seal.key_name,
        former_vaults: seal.former_vaults,
        wrap_remotely: seal.wrap == WrapPlace::Remote,
        identity: identity(seal.identity),
        authority: seal.authority,
        ca_certificates: seal.ca_certificates,
        key_vault_proxy: seal.key_vault_proxy.map(ProxyUrl::into_url),
        entra_proxy: seal.entra_proxy.map(ProxyUrl::into_url),
    }
}

fn identity(identity: AzureIdentity) -> Identity {
    match identity {
        AzureIdentity::ManagedIdentity { user_assigned: id, endpoint } => {
            Identity::ManagedIdentity { user_assigned: id.map(user_assigned), endpoint }
        }
        AzureIdentity::AppService { user_assigned: id, endpoint, header } => {
            Identity::AppService { user_assigned: id.map(user_assigned), endpoint, header }
        }
        AzureIdentity::WorkloadIdentity { tenant_id, client_id, token_file } => {
            Identity::WorkloadIdentity { tenant_id, client_id, token_file }
        }
        AzureIdentity::ClientSecret { tenant_id, client_id, client_secret } => {
            Identity::ClientSecret { tenant_id, client_id, client_secret }
        }
        AzureIdentity::ClientCertificate { tenant_id, client_id, certificate } => {
            let AzureCertificate { chain, key } = certificate;
            let certificate = ClientCertificate { chain, key };
            Identity::ClientCertificate { tenant_id, client_id, certificate }
        }
    }
}

fn user_assigned(identity: UserAssignedIdentity) -> provider::UserAssignedIdentity {
    match identity {
        UserAssignedIdentity::ClientId(id) => provider::UserAssignedIdentity::ClientId(id),
        UserAssignedIdentity::ObjectId(id) => provider::UserAssignedIdentity::ObjectId(id),
        UserAssignedIdentity::ResourceId(id) => provider::UserAssignedIdentity::ResourceId(id),
    }
}

impl Examiner for AzureKeyVault {
    fn examine<'a>(&'a self, random: &'a Random, _: bool, report: Report<'a>) -> Examined<'a> {
        Box::pin(async move {
            let mut is_well = true;
            let mut tell = |step: provider::Step| {
                is_well &= !matches!(step.finding, provider::Finding::Failed(_));
                report(Step { hop: step.hop.to_string(), finding: finding(step.finding) });
            };
            if let Err(error) = self.check(random, &mut tell).await {
                // A walk that never began must not leave the exit code of a good one.
                let advice = "the operating system has no randomness: try again".to_owned();
                let finding = Finding::Failed { what: error.to_string(), advice };
                report(Step { hop: "wrap, unwrap".into(), finding });
                return false;
            }
            is_well
        })
    }
}

fn finding(found: provider::Finding) -> Finding {
    match found {
        provider::Finding::Passed(seen) => Finding::Passed(seen),
        provider::Finding::Warned(warning) => {
            Finding::Warned { what: warning.to_string(), advice: warning.remedy().to_owned() }
        }
        provider::Finding::Failed(diagnosis) => {
            Finding::Failed { what: diagnosis.to_string(), advice: diagnosis.remedy().to_owned() }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use selkie_config::IdentityReason;

    use super::*;

    fn seal(wrap: WrapPlace, identity: AzureIdentity) -> AzureKeyVaultSeal {
        AzureKeyVaultSeal {
            endpoint: "https://kv1.test".parse().unwrap(),
            resource: "vault.azure.net".into(),
            key_name: "selkie".into(),
            former_vaults: vec!["https://kv0.test".parse().unwrap()],
            wrap,
            poll_interval: Duration::from_secs(1),
            public_keys: Vec::new(),
            identity,
            identity_reason: IdentityReason::NothingElse,
            authority: "https://login.test".parse().unwrap(),
            ca_certificates: Some(Vec::new()),
            key_vault_proxy: None,
            entra_proxy: None,
        }
    }

    #[test]
    fn the_provider_is_told_what_the_stanza_says() {
        let user_assigned = Some(UserAssignedIdentity::ObjectId("o".into()));
        let endpoint = "http://127.0.0.1:8444".parse().unwrap();
        let managed = AzureIdentity::ManagedIdentity { user_assigned, endpoint };
        let told = settings(seal(WrapPlace::Remote, managed));
        assert_eq!(told.endpoint.as_str(), "https://kv1.test/");
        assert_eq!(told.authority.as_str(), "https://login.test/");
        assert_eq!((told.resource.as_str(), told.key_name.as_str()), ("vault.azure.net", "selkie"));
        assert_eq!(told.former_vaults, ["https://kv0.test".parse().unwrap()]);
        assert!(told.wrap_remotely && told.ca_certificates.is_some());
        let Identity::ManagedIdentity { user_assigned, endpoint } = told.identity else {
            panic!("{:?}", told.identity);
        };
        assert_eq!(user_assigned, Some(provider::UserAssignedIdentity::ObjectId("o".into())));
        assert_eq!(endpoint.as_str(), "http://127.0.0.1:8444/");
    }

    #[test]
    fn a_tenant_is_not_taken_for_a_client() {
        let (tenant_id, client_id, token_file) = ("t".into(), "c".into(), "/token".into());
        let workload = AzureIdentity::WorkloadIdentity { tenant_id, client_id, token_file };
        let told = settings(seal(WrapPlace::Local, workload));
        assert!(!told.wrap_remotely);
        let Identity::WorkloadIdentity { tenant_id, client_id, .. } = told.identity else {
            panic!("{:?}", told.identity);
        };
        assert_eq!((tenant_id.as_str(), client_id.as_str()), ("t", "c"));
    }
}
