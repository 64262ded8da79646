use super::script::chance;
use super::*;

const DECRYPT: Option<FaultyOperation> = Some(FaultyOperation::Decrypt);

fn bench(text: &str) -> Arc<Bench> {
    Bench::new(Faults::parse("x", text).unwrap())
}

fn asked(operation: Option<FaultyOperation>) -> BenchRequest<'static> {
    BenchRequest { operation, key: Some("unseal"), client: Some(("vault", "accessor")) }
}

fn status(bench: &Bench, asked: BenchRequest<'_>) -> Option<u16> {
    match bench.befalls(asked)?.outcome {
        RequestOutcome::Status { status, .. } => Some(status),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_rule_takes_what_it_is_about_and_nothing_else() {
    let rules = r#"
        fault "a" {
          on = ["decrypt"]
          key = "unseal"
          client = "vault"
          accessor = "accessor"
          status = 503
        }
    "#;
    let bench = bench(rules);
    let right = asked(DECRYPT);
    assert_eq!(status(&bench, right), Some(503));
    for wrong in [
        asked(Some(FaultyOperation::Encrypt)),
        asked(None),
        BenchRequest { key: Some("other"), ..right },
        BenchRequest { key: None, ..right },
        BenchRequest { client: Some(("other", "accessor")), ..right },
        BenchRequest { client: Some(("vault", "other")), ..right },
        BenchRequest { client: None, ..right },
    ] {
        assert_eq!(status(&bench, wrong), None, "{wrong:?}");
    }
    assert!(bench.asks_for_clients());
    assert_eq!((bench.rules(), bench.happened()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn the_first_rule_that_takes_a_call_has_it_and_all_count_it() {
    let bench = bench(
        "fault \"a\" {\n nth = 2\n status = 503\n}\nfault \"b\" {\n every = 2\n status = 403\n}\n\
         fault \"c\" {\n first = 1\n status = 429\n}\n",
    );
    let seen: Vec<_> = (0..5).map(|_| status(&bench, asked(DECRYPT))).collect();
    assert_eq!(seen, [Some(429), Some(503), None, Some(403), None]);
    assert!(!bench.asks_for_clients());
}

#[tokio::test(start_paused = true)]
async fn a_window_is_counted_from_the_reading_of_the_script() {
    let text = "fault \"a\" {\n until = \"2s\"\n repeat = \"4s\"\n status = 503\n}\n";
    let bench = bench(text);
    let mut seen = Vec::new();
    for _ in 0..6 {
        seen.push(status(&bench, asked(DECRYPT)).is_some());
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert_eq!(seen, [true, true, false, false, true, true]);
    bench.replace(Faults::parse("x", text).unwrap());
    assert!(status(&bench, asked(DECRYPT)).is_some(), "it begins anew");
}

#[tokio::test(start_paused = true)]
async fn the_seed_decides_what_chance_does() {
    let play = |seed: u64| {
        let bench = bench(&format!(
            "seed = {seed}\nfault \"a\" {{\n probability = 0.3\n status = 503\n}}\n"
        ));
        (0..1000).map(|_| status(&bench, asked(DECRYPT)).is_some()).collect::<Vec<_>>()
    };
    let first = play(1);
    assert_eq!(first, play(1));
    assert_ne!(first, play(2));
    let happened = first.iter().filter(|happened| **happened).count();
    assert!((250..350).contains(&happened), "{happened} of 1000");
    assert!((0..1000).all(|call| (0.0..1.0).contains(&chance(3, call % 7, call))));
}

#[tokio::test(start_paused = true)]
async fn what_has_happened_is_counted_by_rule() {
    let bench = bench("fault \"a\" {\n first = 2\n status = 503\n}\n");
    for _ in 0..5 {
        let _happening = bench.befalls(asked(DECRYPT));
    }
    let mut registry = Registry::with_prefix("selkie");
    bench.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    assert!(text.contains("selkie_faults_total{fault=\"a\"} 2\n"), "{text}");
}

mod seals {
    use selkie_crypto::{Kek, KekId, RecipientSecret, SealName, WrapAlgorithm};
    use selkie_kms::{Call, ClientTag, Kms, KmsError, StaticKms};
    use tokio::time::{Instant, timeout};

    use super::*;

    struct Played(Arc<dyn Kms>);

    fn played(text: &str) -> Played {
        let id = KekId::new("k1").unwrap();
        let kek = Kek::init_with(|bytes| bytes.fill(1)).unwrap();
        let kms = StaticKms::new(vec![(id.clone(), kek)], &id).unwrap();
        let seal = SealName::new("dev").unwrap();
        Played(scripted(Arc::new(kms), &seal, Some(&bench(text))))
    }

    impl Played {
        async fn round_trip(&self) -> Result<bool, KmsError> {
            let call = || Call {
                client: ClientTag::SELKIE,
                deadline: Instant::now() + Duration::from_secs(5),
            };
            let id = KekId::new("k1").unwrap();
            let dek = RecipientSecret::init_with(|bytes| bytes.fill(7));
            let wrapped = self.0.wrap_dek(&id, &dek, call()).await?;
            let secret = self.0.unwrap_dek(&id, WrapAlgorithm::A256Kw, &wrapped, call()).await?;
            Ok(secret.expose_for_wrap() == dek.expose_for_wrap())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_seal_answers_as_the_script_says() {
        let text =
            |answer: &str| format!("seal_fault \"a\" {{\n on = [\"unwrap\"]\n {answer}\n}}\n");
        let away = played(&text("answer = \"away\"")).round_trip().await;
        assert!(matches!(away, Err(KmsError::Unavailable(_))), "{away:?}");
        let throttled = played(&text("answer = \"throttled\"")).round_trip().await;
        assert!(matches!(throttled, Err(KmsError::Throttled { .. })), "{throttled:?}");
        let denied = played(&text("answer = \"denied\"")).round_trip().await;
        assert!(matches!(denied, Err(KmsError::Denied(_))), "{denied:?}");
        let wrong = played(&text("answer = \"wrong\"")).round_trip().await;
        assert!(matches!(wrong, Ok(false)), "{wrong:?}");
        let hangs = played(&text("answer = \"hang\""));
        assert!(timeout(Duration::from_secs(60), hangs.round_trip()).await.is_err());
        let began = Instant::now();
        assert!(matches!(played(&text("delay = \"3s\"")).round_trip().await, Ok(true)));
        assert_eq!(began.elapsed().as_secs(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rule_for_another_seal_or_call_leaves_it_alone() {
        let other = "seal_fault \"a\" {\n seal = \"weu\"\n answer = \"away\"\n}\n";
        assert!(matches!(played(other).round_trip().await, Ok(true)));
        let second =
            played("seal_fault \"a\" {\n on = [\"wrap\"]\n nth = 2\n answer = \"away\"\n}\n");
        assert!(matches!(second.round_trip().await, Ok(true)));
        assert!(second.round_trip().await.is_err());
        assert!(matches!(second.round_trip().await, Ok(true)));
    }

    #[test]
    fn without_a_bench_the_provider_is_itself() {
        let id = KekId::new("k1").unwrap();
        let kek = Kek::init_with(|bytes| bytes.fill(1)).unwrap();
        let kms: Arc<dyn Kms> = Arc::new(StaticKms::new(vec![(id.clone(), kek)], &id).unwrap());
        let same = scripted(Arc::clone(&kms), &SealName::new("dev").unwrap(), None);
        assert!(Arc::ptr_eq(&kms, &same));
    }
}
