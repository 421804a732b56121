//! The world: one machine with a clock, a control plane, a driver, a data plane, users and whoever gives commands.
//!
//! Time passes in ticks. In each, processes live, requests are taken and end, what was reported arrives, the control plane
//! takes a turn, and what it wants done is begun. Everything can fail in the ways the real parts fail: the control plane
//! and the data plane can be killed, links can be silent, late or repeat themselves, the disk can be full, the clock can
//! be set. After every turn all [invariants](crate::invariants) are checked.

use crate::{
    audit::Audit,
    data_plane::{DataPlane, Demand, Saved},
    driver::Driver,
    invariants::{Moment, Violation},
    random::Random,
    serve::{Answer, Serve, command},
    version::Versions,
};
use control::{Input, Planned, Request};
use ledger::Memory;
use model::{Action, InstanceId, InstanceSeen, ServiceKey, Span, Time};
use policy::Policy;
use std::collections::{BTreeMap, VecDeque};

/// How much time passes at once.
pub(crate) const TICK: Span = Span(100);
/// How often the data plane reports when nothing happens.
const REPORTS: Span = Span(500);
/// When the world began.
const GENESIS: Time = Time(1_700_000_000_000);

/// How control plane and driver reach each other.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Link {
    /// How long everything is on its way, in both directions.
    pub(crate) delay: Span,
    /// Nothing is reported.
    pub(crate) silent: bool,
    /// Everything arrives twice.
    pub(crate) repeats: bool,
}

/// The world.
#[derive(Clone, Debug)]
pub(crate) struct World {
    clock: Time,
    clock_is_off_by: i64,
    pub(crate) random: Random,
    pub(crate) policy: Policy,
    pub(crate) versions: Versions,
    pub(crate) demand: BTreeMap<ServiceKey, Demand>,
    /// The control plane; `None` while it is dead.
    pub(crate) serve: Option<Serve>,
    /// What a dead control plane left behind.
    disk: Memory,
    pub(crate) driver: Driver,
    pub(crate) driver_link: Link,
    /// The data plane; `None` while it is dead.
    pub(crate) proxy: Option<DataPlane>,
    saved: Saved,
    last_report: Time,
    noticed: Vec<Input>,
    actions: VecDeque<(Time, Action)>,
    reports: VecDeque<(Time, Vec<InstanceSeen>)>,
    pub(crate) audit: Audit,
    /// The first invariant that did not hold.
    pub(crate) violation: Option<Violation>,
}

impl World {
    /// A world in which nothing was ever done. `ann` and `bob` are owners, `vic` is a viewer.
    pub(crate) fn new(seed: u64) -> World {
        let owners = ["ann", "bob"].map(str::to_owned).into();
        let policy = Policy { owners, viewers: ["vic".to_owned()].into(), ..Policy::default() };
        World {
            clock: GENESIS,
            clock_is_off_by: 0,
            random: Random::new(seed),
            policy,
            versions: Versions::default(),
            demand: BTreeMap::new(),
            serve: Serve::open(Memory::new(), None).ok(),
            disk: Memory::new(),
            driver: Driver::default(),
            driver_link: Link::default(),
            proxy: Some(DataPlane::start(Saved::default(), GENESIS)),
            saved: Saved::default(),
            last_report: GENESIS,
            noticed: Vec::new(),
            actions: VecDeque::new(),
            reports: VecDeque::new(),
            audit: Audit::default(),
            violation: None,
        }
    }

    /// What the machine's clock says.
    pub(crate) fn now(&self) -> Time {
        Time(self.clock.0.saturating_add_signed(self.clock_is_off_by))
    }

    /// How long the world has existed, whatever its clocks say.
    pub(crate) fn age(&self) -> Span {
        self.clock.since(GENESIS)
    }

    /// One tick.
    pub(crate) fn tick(&mut self) {
        self.clock = self.clock + TICK;
        self.driver.advance(&self.versions, self.clock);
        self.serve_users();
        self.carry_actions();
        self.carry_reports();
        let noticed = std::mem::take(&mut self.noticed);
        self.turn(&noticed);
    }

    /// Gives commands, all in one turn.
    pub(crate) fn give(&mut self, requests: Vec<Request>) -> Vec<Answer> {
        if self.serve.is_none() {
            return requests.iter().map(|_| Answer::NotRecorded("the control plane does not run".to_owned())).collect();
        }
        // A clock that was set comes first: what is recorded before it is taken into account would be moved by it too.
        let mut inputs = std::mem::take(&mut self.noticed);
        inputs.extend(requests.into_iter().map(command));
        self.turn(&inputs)
    }

    fn turn(&mut self, inputs: &[Input]) -> Vec<Answer> {
        let now = self.now();
        let Some(serve) = &mut self.serve else { return Vec::new() };
        let turn = serve.turn(&self.policy, inputs, now);
        self.check(&turn.actions);
        if turn.died {
            self.kill_control();
        } else if turn.failed {
            self.noticed.extend(inputs.iter().filter(|i| matches!(i, Input::ClockStepped(_))).cloned());
        }
        for Planned { action, .. } in turn.actions {
            if let Action::SetRoutes(table) = action {
                if let Some(proxy) = &mut self.proxy {
                    proxy.set_routes(table);
                    self.saved = proxy.saved.clone();
                    self.last_report = Time(0);
                }
            } else {
                for _ in 0..1 + u32::from(self.driver_link.repeats) {
                    self.actions.push_back((self.clock + self.driver_link.delay, action.clone()));
                }
            }
        }
        self.carry_actions();
        turn.answers.into_iter().map(|(_, answer)| answer).collect()
    }

    fn check(&mut self, actions: &[Planned]) {
        let Some(serve) = &self.serve else { return };
        let now = self.now();
        let found = self.audit.follow(&serve.disk).and_then(|step| {
            Moment { step: &step, now, actions, serve, driver: &self.driver, proxy: self.proxy.as_ref() }.check()
        });
        if let Err(violation) = found {
            self.violation.get_or_insert(violation);
        }
    }

    fn serve_users(&mut self) {
        let Some(proxy) = &mut self.proxy else { return };
        for (service, demand) in &self.demand {
            let due = |clock: Time| clock.0 * demand.per_second / 1_000;
            let count = due(self.clock) - due(Time(self.clock.0 - TICK.0));
            proxy.take((service, count, demand.outage), (&self.driver, &self.versions), &mut self.random, self.clock);
        }
        let tripped = proxy.advance(&self.driver, self.clock);
        if !tripped.is_empty() {
            self.saved = proxy.saved.clone();
            self.last_report = Time(0);
        }
    }

    fn carry_actions(&mut self) {
        while let Some((_, action)) = self.actions.pop_front_if(|(due, _)| *due <= self.clock) {
            self.driver.perform(action, self.clock);
        }
    }

    fn carry_reports(&mut self) {
        self.reports.push_back((self.clock + self.driver_link.delay, self.driver.observe()));
        let now = self.now();
        let Some(serve) = &mut self.serve else {
            self.reports.clear();
            return;
        };
        while let Some((_, seen)) = self.reports.pop_front_if(|(due, _)| *due <= self.clock) {
            for _ in 0..1 + u32::from(self.driver_link.repeats) {
                if !self.driver_link.silent {
                    serve.observed.take_instances(seen.clone());
                }
            }
        }
        match &self.proxy {
            None => serve.observed.lose_proxy(),
            Some(proxy) if self.clock.since(self.last_report) >= REPORTS || serve.observed.proxy.is_none() => {
                serve.observed.take_report(proxy.report(now));
                self.last_report = self.clock;
            }
            Some(_) => {}
        }
    }

    /// Kills the control plane. What it was about to do is not done; what it had asked for already is.
    pub(crate) fn kill_control(&mut self) {
        if let Some(serve) = self.serve.take() {
            self.disk = serve.disk.reopen();
            self.noticed.clear();
        }
    }

    /// Starts the control plane again, from a snapshot if there is one. Whatever it starts from, it must come to the same
    /// state.
    pub(crate) fn start_control(&mut self, snapshot: Option<&str>) {
        if self.serve.is_some() {
            return;
        }
        let started = Serve::open(self.disk.clone(), snapshot);
        let found = started.and_then(|serve| {
            let replayed = Serve::open(self.disk.clone(), None)?;
            if serve.published == replayed.published {
                Ok(serve)
            } else {
                Err("a snapshot and the entries after it do not give what all entries give".to_owned())
            }
        });
        match found {
            Ok(serve) => {
                let back = serve.published.state.recorded_at.since(self.now());
                if back > Span::ZERO {
                    self.noticed.push(Input::ClockStepped(-(back.0 as i64)));
                }
                self.serve = Some(serve);
            }
            Err(why) => drop(self.violation.get_or_insert(Violation { id: "replay", why })),
        }
    }

    /// Kills the data plane. Its users get nothing until it is started again.
    pub(crate) fn kill_proxy(&mut self) {
        self.proxy = None;
    }

    /// Starts the data plane again, with the table and the trips that it had saved and without its figures.
    pub(crate) fn start_proxy(&mut self) {
        if self.proxy.is_none() {
            self.proxy = Some(DataPlane::start(self.saved.clone(), self.clock));
        }
    }

    /// Quarterdeck stops, and with it everything it runs.
    #[cfg(test)]
    pub(crate) fn halt_control(&mut self) {
        let now = self.now();
        if let Some(Err(why)) = self.serve.as_mut().map(|serve| serve.halt(&self.policy, now)) {
            self.violation.get_or_insert(Violation { id: "halt", why });
        }
        self.kill_control();
        let running: Vec<_> = self.driver.processes.keys().copied().collect();
        running.into_iter().for_each(|instance| self.hit(instance));
    }

    /// Kills the process of an instance.
    pub(crate) fn hit(&mut self, instance: InstanceId) {
        self.driver.kill(instance, self.clock);
    }

    /// Sets the machine's clock. A control plane that runs notices.
    pub(crate) fn step_clock(&mut self, by_ms: i64) {
        self.clock_is_off_by += by_ms;
        if self.serve.is_some() {
            self.noticed.push(Input::ClockStepped(by_ms));
        }
    }
}
