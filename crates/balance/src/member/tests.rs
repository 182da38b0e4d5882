use super::*;

#[track_caller]
fn check(status: Status, via: Option<&str>, expected: &str) {
    assert_eq!(status.text(via), expected);
    assert_eq!(Status::unpack(status.pack()), status);
}

#[test]
fn a_status_reads_as_haproxy_writes_it() {
    let checked = |run, health| Status {
        admin: Admin::READY,
        run,
        checks: Some(Progress { health, rise: 2, fall: 3 }),
        agent: AgentState::Absent,
        standing: Standing::In,
    };
    check(Status::default(), None, "no check");
    check(checked(Run::Running, 4), None, "UP");
    check(checked(Run::Running, 3), None, "UP 2/3");
    check(checked(Run::Running, 2), None, "UP 1/3");
    check(checked(Run::Starting, 4), None, "UP");
    check(checked(Run::Stopped, 0), None, "DOWN");
    check(checked(Run::Stopped, 1), None, "DOWN 1/2");
    check(checked(Run::Stopping, 4), None, "NOLB");
    check(checked(Run::Stopping, 2), None, "NOLB 1/3");
    check(Status { run: Run::Stopped, ..Status::default() }, None, "DOWN");
    check(Status { run: Run::Stopping, ..Status::default() }, None, "NOLB");
    let admin = |admin| Status { admin, ..checked(Run::Running, 4) };
    check(admin(Admin::DRAIN_FORCED), None, "DRAIN");
    check(Status { admin: Admin::DRAIN_FORCED, ..checked(Run::Running, 2) }, None, "DRAIN 1/3");
    check(admin(Admin::MAINT_FORCED), None, "MAINT");
    check(admin(Admin::MAINT_INHERITED), Some("x/y"), "MAINT (via x/y)");
    check(admin(Admin::MAINT_RESOLUTION), None, "MAINT (resolution)");
    let agent = |agent, status| Status { agent, ..status };
    check(agent(AgentState::Down, checked(Run::Stopped, 4)), None, "DOWN (agent)");
    check(agent(AgentState::Up, checked(Run::Stopped, 1)), None, "DOWN 1/2");
    check(agent(AgentState::Up, admin(Admin::DRAIN_FORCED)), None, "DRAIN (agent)");
    check(agent(AgentState::Up, checked(Run::Running, 3)), None, "UP 2/3");
    check(agent(AgentState::Up, Status::default()), None, "no check");
    let ejected = |status| Status { standing: Standing::Ejected, ..status };
    check(ejected(Status::default()), None, "EJECTED");
    check(ejected(checked(Run::Stopped, 0)), None, "DOWN");
    check(ejected(admin(Admin::MAINT_FORCED)), None, "MAINT");
    let on_probation = |status| Status { standing: Standing::Probation, ..status };
    check(on_probation(Status::default()), None, "PROBATION");
    check(on_probation(checked(Run::Running, 4)), None, "PROBATION");
    check(on_probation(checked(Run::Stopped, 0)), None, "DOWN");
    check(on_probation(admin(Admin::DRAIN_FORCED)), None, "DRAIN");
}

#[test]
fn the_limit_grows_with_the_load_of_the_pool() {
    #[track_caller]
    fn check(maxconn: u32, minconn: u32, units: u32, fullconn: u32, expected: Option<u32>) {
        let limits = Limits { maxconn, minconn, ..Limits::default() };
        assert_eq!(limits.effective(units, fullconn), expected);
    }
    check(0, 0, 5, 100, None);
    check(10, 0, 5, 100, Some(10));
    check(100, 10, 5, 100, Some(10));
    check(100, 10, 50, 100, Some(50));
    check(100, 10, 100, 100, Some(100));
    check(100, 10, 0, 0, Some(100)); // no fullconn
    check(0, 7, 0, 100, Some(7)); // minconn alone is a maxconn
}

#[test]
fn a_configuration_keeps_a_weight_set_at_run_time() {
    let member = Member::new("a", &MemberConfig { weight: 10, ..Default::default() }, 1);
    member.set_weight(3);
    member.configure(&MemberConfig { weight: 10, ..Default::default() });
    assert_eq!((member.weight(), member.weight_initial()), (3, 10));
    member.configure(&MemberConfig { weight: 20, ..Default::default() });
    assert_eq!(member.weight(), 20);
    member.set_weight(9999);
    assert_eq!(member.weight(), WEIGHT_MAX);
}

#[test]
fn a_configuration_keeps_a_maxconn_set_at_run_time() {
    let config = |maxconn| MemberConfig {
        limits: Limits { maxconn, ..Limits::default() },
        ..MemberConfig::default()
    };
    let member = Member::new("a", &config(5), 1);
    assert_eq!(member.limits().maxconn, 5);
    member.set_limits(Limits { maxconn: 9, ..member.limits() });
    member.configure(&config(5));
    assert_eq!(member.limits().maxconn, 9);
    member.configure(&config(7));
    assert_eq!(member.limits().maxconn, 7);
}
