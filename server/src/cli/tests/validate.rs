//! `selkie validate` and `selkie doctor` where a start would go on, or lose something.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use serde_json::{Value, json};

use super::*;
use crate::promises::PromiseFile;

/// The configuration in `dir` with the key "k1" read from `key`.
fn with_key(dir: &TempDir, file: &str, key: &str, content: Option<&[u8]>) -> String {
    let path = dir.path().join(key);
    if let Some(content) = content {
        write_secret(&path, content);
    }
    let text = format!(
        "listener \"tcp\" {{\n  tls_disable = true\n}}\n\
         seal \"static\" {{\n  current_key_id = \"k1\"\n  current_key = \"file://{}\"\n}}\n\
         key \"autounseal\" {{}}\n",
        path.display()
    );
    let path = dir.path().join(file);
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn validate_tells_of_a_library_of_an_hsm_that_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let pin = dir.path().join("pin");
    write_secret(&pin, b"1234");
    let file = with_key(&dir, "selkie.hcl", "key", Some(&[1; 32]));
    let text = fs::read_to_string(&file).unwrap();
    let library = dir.path().join("libhsm.so");
    let seal = format!(
        "seal \"pkcs11\" {{\n  name = \"hsm\"\n  priority = 2\n  lib = {library:?}\n  slot = 0\n  \
         pin = \"file://{}\"\n  key_label = \"k\"\n}}\n",
        pin.display()
    );
    let text = text.replace("key_id = \"k1\"", "key_id = \"k1\"\n  priority = 1");
    fs::write(&file, text + &seal).unwrap();
    let said = format!("seal \"hsm\": \"lib\": file {} does not exist", library.display());
    let (exit, _, errors) = ran(&["validate", &file]);
    assert_eq!(exit, Exit::Success, "it may be on its way to another machine: {errors}");
    assert!(errors.contains(&said), "{errors}");
    fs::write(&library, "").unwrap();
    let (_, _, errors) = ran(&["validate", &file]);
    assert!(!errors.contains("does not exist on this machine"), "{errors}");
}

#[test]
fn validate_warns_of_the_sample_token_of_the_examples() {
    let hash = |hash: &str| {
        format!("client \"a\" {{\n  token_sha256 = \"{hash}\"\n  policies = [\"default\"]\n}}")
    };
    let example = include_str!("../../../../docs/examples/selkie.hcl");
    let (_, sample) = example.split_once("token_sha256 = \"").unwrap();
    let (_dir, file) = site(&hash(&sample[..64]));
    let (exit, _, errors) = ran(&["validate", &file]);
    assert_eq!(exit, Exit::Success, "a Vault may be added later: {errors}");
    assert!(errors.contains("warning: client \"a\": \"token_sha256\" is the sample"), "{errors}");
    let (_dir, file) = site(&hash(&"ab".repeat(32)));
    let (_, _, errors) = ran(&["validate", &file]);
    assert!(!errors.contains("sample"), "{errors}");
}

#[test]
fn validate_warns_of_a_rule_by_what_no_login_is_called() {
    let policy = |name: &str, granted: &str| {
        format!(
            "policy \"p\" {{\n  path \"secret/{{{{{name}}}}}\" {{\n    capabilities = \
             [\"{granted}\"]\n  }}\n}}"
        )
    };
    for granted in ["deny", "read"] {
        let (_dir, file) = site(&policy("token.display_name", granted));
        let (exit, _, errors) = ran(&["validate", &file]);
        assert_eq!(exit, Exit::Success, "clients that are declared have one: {errors}");
        let said = "warning: policy \"p\": the path of a rule names {{token.display_name}} or";
        assert!(errors.contains(said), "{granted}: {errors}");
    }
    let (_dir, file) = site(&policy("identity.entity.id", "deny"));
    let (_, _, errors) = ran(&["validate", &file]);
    assert!(!errors.contains("the path of a rule names"), "{errors}");
}

#[test]
fn validate_tells_another_key_under_a_known_id_by_its_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let old = with_key(&dir, "old.hcl", "old", Some(&[1; 32]));
    let other = with_key(&dir, "other.hcl", "other", Some(&[2; 32]));
    let (exit, _, errors) = ran(&["validate", &other, "--previous", &old]);
    assert_eq!(exit, Exit::Config);
    assert!(errors.contains("key id \"k1\" now names another key"), "{errors}");
    assert!(errors.contains("let it go: selkie accept-losses FILE"), "{errors}");
    // The control: the same key at another place is the same.
    let moved = with_key(&dir, "moved.hcl", "moved", Some(&[1; 32]));
    let (exit, _, errors) = ran(&["validate", &moved, "--previous", &old]);
    assert_eq!(exit, Exit::Success, "{errors}");
}

#[test]
fn validate_tells_a_key_that_it_cannot_compare_with_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let gone = with_key(&dir, "gone.hcl", "gone", None);
    let moved = with_key(&dir, "moved.hcl", "moved", Some(&[1; 32]));
    let (exit, _, errors) = ran(&["validate", &moved, "--previous", &gone]);
    assert_eq!(exit, Exit::Config);
    assert!(errors.contains("the key of the id \"k1\" is read from elsewhere"), "{errors}");
}

fn leaf_of(years: (i32, i32)) -> CertificateParams {
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.not_before = date_time_ymd(years.0, 1, 1);
    params.not_after = date_time_ymd(years.1, 1, 1);
    params
}

/// A configuration whose listener shows a certificate that is good in these years.
fn with_certificate(years: (i32, i32)) -> (TempDir, String) {
    let (dir, file) = site("");
    let key = KeyPair::generate().unwrap();
    let certificate = leaf_of(years).self_signed(&key).unwrap();
    let place = dir.path().display();
    fs::write(dir.path().join("cert.pem"), certificate.pem()).unwrap();
    write_secret(&dir.path().join("key.pem"), key.serialize_pem().as_bytes());
    let tls = format!(
        "{{\n  tls_cert_file = \"{place}/cert.pem\"\n  tls_key_file = \"{place}/key.pem\"\n}}"
    );
    let text = fs::read_to_string(&file).unwrap().replace("{ tls_disable = true }", &tls);
    fs::write(&file, text).unwrap();
    (dir, file)
}

#[test]
fn validate_and_doctor_tell_of_a_certificate_that_clients_refuse() {
    for (years, told) in
        [((2020, 2021), "certificate expired"), ((2120, 2121), "certificate is not good before")]
    {
        let (_dir, file) = with_certificate(years);
        let (exit, _, errors) = ran(&["validate", &file]);
        assert_eq!(exit, Exit::Config, "{errors}");
        assert!(errors.contains(told) && errors.contains("127.0.0.1:8200"), "{errors}");
        let (exit, output, _) = ran(&["doctor", &file]);
        assert_eq!(exit, Exit::Failure);
        assert!(output.contains(&format!("FAILED  certificate: {told}")), "{output}");
    }
    let (_dir, file) = with_certificate((2020, 2120));
    finds_it_good(&file);
}

/// The issuer's certificate has ended as well, which alone would be a warning.
#[test]
fn a_certificate_that_clients_refuse_is_refused_whatever_became_of_its_issuers() {
    for (years, told) in
        [((2020, 2022), "certificate expired"), ((2120, 2121), "certificate is not good before")]
    {
        let (dir, file) = with_certificate(years);
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "intermediate");
        params.not_after = date_time_ymd(2021, 1, 1);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = leaf_of(years).signed_by(&key, &issuer).unwrap();
        fs::write(dir.path().join("cert.pem"), leaf.pem() + &issuer.pem()).unwrap();
        write_secret(&dir.path().join("key.pem"), key.serialize_pem().as_bytes());
        let (exit, _, errors) = ran(&["validate", &file]);
        assert_eq!(exit, Exit::Config, "{errors}");
        assert!(errors.contains(told), "{errors}");
        let (exit, output, _) = ran(&["doctor", &file]);
        assert_eq!(exit, Exit::Failure);
        assert!(output.contains(&format!("FAILED  certificate: {told}")), "{output}");
    }
}

fn finds_it_good(file: &str) {
    assert_eq!(ran(&["validate", file]).0, Exit::Success);
    let (exit, output, _) = ran(&["doctor", file]);
    assert_eq!(exit, Exit::Success);
    assert!(output.contains("ok      certificate: valid until 2120-01-01"), "{output}");
}

#[test]
fn an_expired_rest_of_a_chain_is_no_reason_to_refuse_a_good_certificate() {
    let (dir, file) = with_certificate((2020, 2120));
    let (rest, _file) = with_certificate((2020, 2021));
    let [chain, rest] = [&dir, &rest].map(|dir| dir.path().join("cert.pem"));
    let whole = fs::read_to_string(&chain).unwrap() + &fs::read_to_string(rest).unwrap();
    fs::write(&chain, whole).unwrap();
    finds_it_good(&file);
}

#[test]
fn a_cas_own_certificate_is_warned_of() {
    let (dir, file) = with_certificate((2020, 2120));
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    fs::write(dir.path().join("cert.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    write_secret(&dir.path().join("key.pem"), key.serialize_pem().as_bytes());
    let (exit, output, errors) = ran(&["validate", &file]);
    assert_eq!(exit, Exit::Success, "{output}{errors}");
    assert!(errors.contains("a CA's own") && errors.contains("CA:FALSE"), "{errors}");
    let (exit, output, _) = ran(&["doctor", &file]);
    assert_eq!(exit, Exit::Success, "{output}");
    let told = "warning certificate: certificate is a CA's own";
    assert!(output.contains(told) && output.contains("CA:FALSE"), "{output}");
}

#[test]
fn doctor_asks_the_old_server_of_a_takeover() {
    let (dir, file) = site("");
    write_secret(&dir.path().join("token"), b"t");
    let takeover = format!(
        "key \"autounseal\" {{\n  takeover {{\n    address = \"http://127.0.0.1:1\"\n    \
         token = \"file://{}/token\"\n    mount_path = \"transit/\"\n    key_name = \"old\"\n    \
         last_version = 3\n  }}\n  generation = 1\n}}",
        dir.path().display()
    );
    let text = fs::read_to_string(&file).unwrap().replace("key \"autounseal\" {}", &takeover);
    fs::write(&file, text).unwrap();
    let (exit, output, errors) = ran(&["doctor", &file]);
    assert_eq!(exit, Exit::Failure, "{output}{errors}");
    assert!(output.contains("takeover of transit/autounseal"), "{output}");
    assert!(output.contains("FAILED  old server"), "{output}");
    assert!(output.contains("1 failure: takeover of transit/autounseal, old server"), "{output}");
}

#[test]
fn validate_refuses_what_a_start_could_not_write_and_warns_of_what_is_missing() {
    let (dir, file) = site("");
    let text = fs::read_to_string(&file).unwrap();
    let write = |further: &str| fs::write(&file, format!("{text}{further}")).unwrap();
    let place = dir.path().display().to_string();
    write_secret(&dir.path().join("audit.key"), &[0x9b; 32]);
    let audit = |path: &str| {
        format!(
            "audit_key = \"file://{place}/audit.key\"\naudit \"file\" {{\n  \
             file_path = \"{place}/{path}\"\n}}\n"
        )
    };
    write(&audit("missing/log"));
    let (exit, _, errors) = ran(&["validate", &file]);
    assert_eq!(exit, Exit::Config);
    assert!(errors.contains("\"file_path\"") && errors.contains("does not exist"), "{errors}");
    write(&format!("pid_file = \"{place}/missing/pid\"\n"));
    let (exit, _, errors) = ran(&["validate", &file]);
    assert_eq!(exit, Exit::Success);
    assert!(errors.contains("warning: field \"pid_file\""), "{errors}");
    write(&format!("data_dir = \"{place}/mistyped/selkie\"\n"));
    let (exit, _, errors) = ran(&["validate", &file]);
    assert_eq!(exit, Exit::Success);
    let told = format!("warning: field \"data_dir\": {place}/mistyped/selkie does not exist");
    assert!(errors.contains(&told) && errors.contains("will be made"), "{errors}");
    let (_, output, _) = ran(&["doctor", &file]);
    assert!(output.contains("warning write: it does not exist and will be made"), "{output}");
    write(&(format!("pid_file = \"{place}/pid\"\n") + &audit("log")));
    let (exit, _, errors) = ran(&["validate", &file]);
    assert_eq!((exit, errors.as_str()), (Exit::Success, ""), "the control");
    fs::write(&file, text.replace("key \"autounseal\" {}", "auth \"approle\" {}")).unwrap();
    let (exit, _, errors) = ran(&["validate", &file]);
    assert_eq!(exit, Exit::Success, "{errors}");
    assert!(errors.contains("warning: no key is declared"), "{errors}");
    assert!(errors.contains("secret IDs are created through the API"), "{errors}");
    let policy = |key: &str| {
        let path =
            format!("path \"transit/encrypt/{key}\" {{\n    capabilities = [\"update\"]\n  }}");
        write(&format!("policy \"vault\" {{\n  {path}\n}}\n"));
        ran(&["validate", &file]).2
    };
    let told = policy("autounsael");
    assert!(told.contains("\"transit/encrypt/autounsael\": no such key is declared"), "{told}");
    assert_eq!(policy("autounseal"), "");
}

#[test]
fn doctor_tells_what_a_file_loses_until_it_is_accepted() {
    let (dir, file) = site("");
    let text = fs::read_to_string(&file).unwrap();
    let (exit, _, errors) = ran(&["accept-losses", &file]);
    assert!(exit == Exit::Config && errors.contains("no \"data_dir\""), "{errors}");
    let data_dir = format!("data_dir = {:?}\n", dir.path().display().to_string());
    fs::write(&file, format!("{text}{data_dir}")).unwrap();
    assert!(ran(&["accept-losses", &file]).1.contains("nothing is remembered here"));
    let before = read_config(Path::new(&file)).unwrap();
    PromiseFile::new(dir.path(), None).write(&[before.promises()]).unwrap();
    let told = || (ran(&["doctor", &file]).1, ran(&["accept-losses", &file]));
    let (doctor, (exit, output, _)) = told();
    assert!(doctor.contains("ok      ciphertexts: every promise is kept"), "{doctor}");
    assert!(exit == Exit::Success && output.contains("nothing is lost"), "{output}");
    fs::write(&file, format!("{text}{data_dir}realm = \"other\"\n")).unwrap();
    let (doctor, (exit, output, _)) = told();
    assert!(doctor.contains("FAILED  ciphertexts: realm \"default\" is neither"), "{doctor}");
    assert!(doctor.contains("1 failure: promises, ciphertexts"), "{doctor}");
    assert!(exit == Exit::Success && output.contains("accepted: realm \"default\""), "{output}");
    assert!(told().0.contains("every promise is kept"));
}

fn json_of(arguments: &[&str]) -> (Exit, Value, String) {
    let (exit, output, errors) = ran(&[arguments, &["--format", "json"]].concat());
    (exit, serde_json::from_str(&output).unwrap(), errors)
}

#[test]
fn validate_tells_programs_what_is_wrong_and_where() {
    let (_dir, file) = site("one = 1\ntwo = 2");
    let (exit, told, errors) = json_of(&["validate", &file]);
    assert_eq!(exit, Exit::Config);
    assert!(errors.contains(&format!("{file}:7:1: ")), "people are told as always: {errors}");
    let error = |line: u64, name: &str| {
        let text = format!("unknown field {name:?}");
        json!({ "file": file, "line": line, "column": 1, "text": text })
    };
    let expected = json!({
        "ok": false, "file": file, "errors": [error(7, "one"), error(8, "two")], "warnings": [],
        "summary": [],
    });
    assert_eq!(told, expected);
}

#[test]
fn validate_tells_programs_of_warnings_and_what_a_good_file_comes_to() {
    let (_dir, file) = site("allow_faults = true\npid_file = \"/nonexistent/pid\"");
    let (exit, told, errors) = json_of(&["validate", &file]);
    assert_eq!((exit, errors.as_str()), (Exit::Success, ""));
    assert_eq!((&told["ok"], &told["errors"]), (&json!(true), &json!([])));
    let [of_line, of_file] = told["warnings"].as_array().unwrap().as_slice() else {
        panic!("{told}")
    };
    assert_eq!((&of_line["file"], &of_line["line"]), (&json!(file), &json!(7)));
    assert!(of_line["text"].as_str().unwrap().starts_with("\"allow_faults\" lets"), "{of_line}");
    assert_eq!((&of_file["file"], &of_file["line"]), (&json!(file), &Value::Null));
    assert!(told["summary"].as_array().unwrap().contains(&json!("seal      static: k1 (current)")));
}

#[test]
fn validate_tells_programs_of_what_has_no_place_in_the_file() {
    let (_old_dir, old) = site("realm = \"a\"");
    let (_dir, new) = site("realm = \"b\"");
    let (exit, told, _) = json_of(&["validate", &new, "--previous", &old]);
    let text = told["errors"][0]["text"].as_str().unwrap();
    assert!(exit == Exit::Config && text.starts_with("realm \"a\" is neither"), "{told}");
    let (_, told, _) = json_of(&["validate", "/nonexistent"]);
    let error = json!({
        "file": null, "line": null, "column": null, "text": "/nonexistent does not exist",
    });
    assert_eq!(told["errors"], json!([error]));
}

#[test]
fn doctor_tells_programs_each_step() {
    let (dir, file) = site("allow_faults = true");
    let (exit, told, _) = json_of(&["doctor", &file]);
    assert_eq!(exit, Exit::Success);
    assert_eq!(
        json!([told["ok"], told["failures"], told["warnings"]]),
        json!([true, 0, 1]),
        "{told}"
    );
    let steps = told["steps"].as_array().unwrap();
    let configuration = &steps[0];
    assert_eq!(configuration["place"], "configuration");
    assert_eq!(configuration["step"], format!("{file}:7:16"));
    let step = json!({
        "place": "seal \"static\" (static)", "step": "wrap, unwrap", "outcome": "ok",
        "text": "a random secret came back unchanged", "advice": null,
    });
    assert!(steps.contains(&step), "{told}");
    assert!(told["hardening"][0]["in_force"].is_boolean(), "{told}");
    let text = fs::read_to_string(&file).unwrap();
    let audit = "audit \"socket\" {\n  address = \"127.0.0.1:1\"\n}\n";
    let key = dir.path().join("audit-key");
    write_secret(&key, &[9; 32]);
    let key = format!("audit_key = \"file://{}\"\n", key.display());
    fs::write(&file, text + &key + audit).unwrap();
    let (exit, told, _) = json_of(&["doctor", &file]);
    assert_eq!((exit, &told["ok"], &told["failures"]), (Exit::Failure, &json!(false), &json!(1)));
    let failed = told["steps"].as_array().unwrap().iter().find(|step| step["outcome"] == "failed");
    let failed = failed.unwrap();
    assert_eq!(failed["place"], "audit \"socket\" (socket at tcp 127.0.0.1:1)");
    assert!(failed["step"] == "connect" && failed["advice"].is_string(), "{failed}");
}
