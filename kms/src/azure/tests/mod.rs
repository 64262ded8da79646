mod classified;
mod described;
mod emulator;
mod fake;
mod operations;
mod tokens;
mod walk;

mod rsa {
    use std::sync::Arc;

    use super::fake::{FakeVault, provider};
    use crate::Kms;

    async fn open() -> Arc<dyn Kms> {
        provider(&FakeVault::rsa())
    }

    crate::kms_contract!(open);
}

mod rsa_wrapped_remotely {
    use std::sync::Arc;

    use super::fake::{FakeVault, over, settings};
    use crate::Kms;
    use crate::azure::AzureSettings;

    async fn open() -> Arc<dyn Kms> {
        over(&FakeVault::rsa(), &AzureSettings { wrap_remotely: true, ..settings() })
    }

    crate::kms_contract!(open);
}

mod symmetric {
    use std::sync::Arc;

    use super::fake::{FakeVault, provider};
    use crate::Kms;

    async fn open() -> Arc<dyn Kms> {
        provider(&FakeVault::symmetric())
    }

    crate::kms_contract!(open);
}
