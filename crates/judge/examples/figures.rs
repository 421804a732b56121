//! dev
#[path = "../tests/it/simulate.rs"]
mod simulate;
use judge::theory;
use model::{ArmRole, Judgement, Ratio, Verdict};
use simulate::{Outcome, Random, rollout};
fn main() {
    for lat in [0, 100_000] {
        let j = Judgement { latency_tolerance: Ratio::from_ppm(lat).unwrap(), ..Judgement::default() };
        println!("latency {lat}");
        for (p0, p1) in [(0.001, 0.01), (0.001, 0.05), (0.01, 0.02), (0.0, 1.0)] {
            for w in [0.05, 0.1, 0.2] {
                let runs = 1000;
                let mut sum = 0.0;
                let mut lost = 0;
                for seed in 0..runs {
                    let e = rollout(
                        &j,
                        &mut Random::new(seed),
                        400_000,
                        |_| w,
                        |r, arm, _| Outcome::failed(r.chance(if arm == ArmRole::Canary { p1 } else { p0 })),
                        |v| matches!(v, Verdict::Worse(_)),
                    );
                    if !matches!(e.verdict, Verdict::Worse(_)) {
                        lost += 1
                    }
                    sum += e.canary_units as f64 * (p1 - p0);
                }
                let limit = theory::limit_excess(w, p0, p1, 0.001, 0.05);
                let m = sum / runs as f64;
                println!("{p0} {p1} {w}: {m:.2} limit {limit:.2} ratio {:.2} lost {lost}", m / limit);
            }
        }
    }
    println!("promote");
    for p in [0.0, 0.001, 0.01, 0.05] {
        for w in [0.05, 0.1, 0.2, 0.5] {
            let j = Judgement { latency_tolerance: Ratio::ZERO, ..Judgement::default() };
            let runs = 500;
            let (mut sum, mut worse) = (0.0, 0);
            for seed in 0..runs {
                let e = rollout(
                    &j,
                    &mut Random::new(seed),
                    1_000_000,
                    |_| w,
                    |r, _, _| Outcome::failed(r.chance(p)),
                    |v| matches!(v, Verdict::Worse(_) | Verdict::NotWorse),
                );
                if e.verdict != Verdict::NotWorse {
                    worse += 1
                }
                sum += e.units as f64;
            }
            let bound = theory::accept_units(w, p, 0.01, 0.001, 0.05);
            let m = sum / runs as f64;
            println!("{p} {w}: {m:.0} bound {bound:.0} ratio {:.2} not {worse}", m / bound);
        }
    }
    println!("bad promote");
    for p in [0.0, 0.001, 0.01, 0.05] {
        for w in [0.05, 0.2, 0.5] {
            let j = Judgement { latency_tolerance: Ratio::ZERO, ..Judgement::default() };
            let runs = 500;
            let mut bad = 0;
            for seed in 0..runs {
                let e = rollout(
                    &j,
                    &mut Random::new(seed),
                    30_000,
                    |_| w,
                    |r, arm, _| Outcome::failed(r.chance(if arm == ArmRole::Canary { p + 0.01 } else { p })),
                    |v| matches!(v, Verdict::NotWorse),
                );
                if e.verdict == Verdict::NotWorse {
                    bad += 1
                }
            }
            println!("{p} {w}: promoted {bad} of {runs}");
        }
    }
}
