//! From what a library answers to what the parent is told.

use cryptoki::error::{Error, RvError};
use selkie_pkcs11_protocol::{Class, Failure, Stage};

pub(crate) fn failure(stage: Stage, class: Class, said: impl Into<String>) -> Failure {
    Failure { stage, class, said: said.into() }
}

pub(crate) fn failed(stage: Stage, error: &Error) -> Failure {
    let class = class(stage, error);
    let said = match error {
        Error::Pkcs11(result, function) => format!("C_{function:?}: {result:?}"),
        other => other.to_string(),
    };
    Failure { stage, class, said }
}

fn class(stage: Stage, error: &Error) -> Class {
    match error {
        Error::Pkcs11(result, _) => class_of_result(stage, *result),
        Error::LibraryLoading(_) | Error::MissingSymbol(_) => Class::NoLibrary,
        Error::NullFunctionPointer | Error::NotSupported => Class::Unfit,
        _ => Class::Odd,
    }
}

fn class_of_result(stage: Stage, result: RvError) -> Class {
    match result {
        RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange => Class::PinRefused,
        RvError::PinExpired | RvError::PinLocked => Class::PinLocked,
        RvError::DeviceError
        | RvError::DeviceRemoved
        | RvError::TokenNotPresent
        | RvError::TokenNotRecognized
        | RvError::SlotIdInvalid
        | RvError::SessionClosed
        | RvError::SessionHandleInvalid
        | RvError::UserNotLoggedIn
        | RvError::KeyHandleInvalid
        | RvError::ObjectHandleInvalid
        | RvError::WrappingKeyHandleInvalid
        | RvError::UnwrappingKeyHandleInvalid
        | RvError::KeyChanged
        | RvError::OperationActive
        | RvError::OperationNotInitialized
        | RvError::CryptokiNotInitialized => Class::Lost,
        RvError::SessionCount | RvError::HostMemory | RvError::DeviceMemory => Class::Busy,
        RvError::UserPinNotInitialized
        | RvError::UserAnotherAlreadyLoggedIn
        | RvError::UserTooManyTypes
        | RvError::ActionProhibited
        | RvError::FunctionRejected => Class::NotPermitted,
        _ if is_unfit(result) => Class::Unfit,
        _ if stage == Stage::Unwrap => Class::Rejected,
        _ => Class::Failed,
    }
}

const fn is_unfit(result: RvError) -> bool {
    matches!(
        result,
        RvError::MechanismInvalid
            | RvError::MechanismParamInvalid
            | RvError::FunctionNotSupported
            | RvError::KeyFunctionNotPermitted
            | RvError::KeyTypeInconsistent
            | RvError::KeySizeRange
            | RvError::WrappingKeyTypeInconsistent
            | RvError::WrappingKeySizeRange
            | RvError::UnwrappingKeyTypeInconsistent
            | RvError::UnwrappingKeySizeRange
            | RvError::TemplateInconsistent
            | RvError::TemplateIncomplete
            | RvError::AttributeReadOnly
            | RvError::AttributeTypeInvalid
            | RvError::AttributeValueInvalid
            | RvError::KeyUnextractable
            | RvError::KeyNotWrappable
    )
}

/// Whether the result of an unwrap may speak of the token as well as of what was sent: the standard
/// has results for a wrong ciphertext, and libraries that do not use them.
pub(crate) const fn is_ambiguous(error: &Error) -> bool {
    !matches!(
        error,
        Error::Pkcs11(
            RvError::EncryptedDataInvalid
                | RvError::EncryptedDataLenRange
                | RvError::WrappedKeyInvalid
                | RvError::WrappedKeyLenRange,
            _
        )
    )
}

#[cfg(test)]
mod tests {
    use cryptoki::context::Function;

    use super::*;

    fn class_at(stage: Stage, result: RvError) -> Class {
        failed(stage, &Error::Pkcs11(result, Function::Login)).class
    }

    #[test]
    fn every_result_about_the_pin_forbids_another_try() {
        for result in [RvError::PinIncorrect, RvError::PinInvalid, RvError::PinLenRange] {
            assert_eq!(class_at(Stage::Login, result), Class::PinRefused, "{result:?}");
        }
        for result in [RvError::PinExpired, RvError::PinLocked] {
            assert_eq!(class_at(Stage::Login, result), Class::PinLocked, "{result:?}");
        }
    }

    #[test]
    fn an_unwrap_that_fails_is_rejected_unless_the_token_is_the_reason() {
        for rejected in [RvError::GeneralError, RvError::EncryptedDataInvalid] {
            assert_eq!(class_at(Stage::Unwrap, rejected), Class::Rejected);
            assert_eq!(class_at(Stage::Wrap, rejected), Class::Failed);
        }
        assert_eq!(class_at(Stage::Unwrap, RvError::DeviceRemoved), Class::Lost);
        assert_eq!(class_at(Stage::Unwrap, RvError::UserNotLoggedIn), Class::Lost);
        assert_eq!(class_at(Stage::Unwrap, RvError::SessionCount), Class::Busy);
    }

    #[test]
    fn what_is_said_names_function_and_result() {
        let said = failed(Stage::Login, &Error::Pkcs11(RvError::PinLocked, Function::Login)).said;
        assert_eq!(said, "C_Login: PinLocked");
    }
}
