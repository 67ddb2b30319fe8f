use super::*;

fn check(arguments: &[&str]) -> Result<Config, ConfigError> {
    let all = std::iter::once("sluice-controller").chain(arguments.iter().copied());
    Config::validated(Flags::parse_from(all), "me".into(), 1)
}

#[test]
fn defaults_are_argos() {
    let config = check(&[]).unwrap();
    assert_eq!(config.lease.duration, Duration::from_secs(15));
    assert_eq!(config.lease.renew_deadline, Duration::from_secs(10));
    assert_eq!(config.lease.retry_period, Duration::from_secs(2));
    assert_eq!(config.metrics_address.unwrap().port(), 8090);
    assert_eq!(config.health_address.unwrap().port(), 8080);
    assert_eq!(config.application_namespace, "argocd");
    assert_eq!(config.namespace, None);
    assert_eq!(config.roles.len(), 3);
}

#[test]
fn a_lease_shorter_than_its_renewal_is_refused_with_both_values() {
    let error = check(&["--leader-election-lease-duration=5s"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "--leader-election-lease-duration is 5s, and must be longer than \
         --leader-election-renew-deadline, which is 10s"
    );
}

#[test]
fn an_instance_has_a_lease_of_its_own() {
    assert_eq!(check(&["--instance-id=b"]).unwrap().lease.name, "argo-rollouts-controller-lock-b");
}

#[test]
fn durations_have_units() {
    assert_eq!(seconds("250ms"), Ok(Duration::from_millis(250)));
    assert_eq!(seconds("2m"), Ok(Duration::from_secs(120)));
    assert_eq!(seconds("7"), Ok(Duration::from_secs(7)));
    assert!(seconds("soon").is_err());
    assert!(seconds("-1s").is_err());
}

#[test]
fn roles_can_be_chosen() {
    let config = check(&["--controllers=analysis"]).unwrap();
    assert!(config.has(Role::Analysis) && !config.has(Role::Rollouts));
}
