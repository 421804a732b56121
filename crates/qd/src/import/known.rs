//! The keys that are known in documents of Argo Rollouts and Flagger and are not read, each with what becomes of it. The
//! formats are those of argoproj.io/v1alpha1 and flagger.app/v1beta1.

use super::spot::{
    Fate,
    Fate::{Left, Name, NotNeeded, Read},
    Known,
};

const EVERY_REQUEST: &str =
    "every request is judged as it comes: there are no measurements to take at intervals, to count, or to forgive";
const MEASURED_HERE: &str = "requests are measured here, in the proxy that carries them: no other program is asked";
const HOW_IT_RUNS: &str = "how a service is run is no part of a rollout: it stands under `[services.NAME]`";
const CARRIED_HERE: &str = "the proxy here carries the requests itself: `routes` under `[services.NAME]` say which";
const NO_CLUSTER: &str = "this is for the cluster's own books";
const COPIES: Fate = Left(
    "requests are copied to a canary before it gets any here, and not beside those that it gets",
    "`shadow = \"100 %\"` under `[services.NAME.rollout]`",
);

pub(super) const DOCUMENT: &[Known] = &[
    ("apiVersion", Name),
    ("kind", Name),
    ("metadata", Read),
    ("spec", Read),
    ("status", NotNeeded("this is what happened, not what is wanted")),
];

pub(super) const METADATA: &[Known] = &[
    ("name", Name),
    ("generateName", Name),
    ("namespace", NotNeeded("a service stands in the environment of its file")),
    ("labels", NotNeeded(NO_CLUSTER)),
    ("annotations", NotNeeded(NO_CLUSTER)),
    ("creationTimestamp", NotNeeded(NO_CLUSTER)),
    ("deletionTimestamp", NotNeeded(NO_CLUSTER)),
    ("deletionGracePeriodSeconds", NotNeeded(NO_CLUSTER)),
    ("finalizers", NotNeeded(NO_CLUSTER)),
    ("generation", NotNeeded(NO_CLUSTER)),
    ("managedFields", NotNeeded(NO_CLUSTER)),
    ("ownerReferences", NotNeeded(NO_CLUSTER)),
    ("resourceVersion", NotNeeded(NO_CLUSTER)),
    ("selfLink", NotNeeded(NO_CLUSTER)),
    ("uid", NotNeeded(NO_CLUSTER)),
];

/// The spec of an AnalysisTemplate, a ClusterAnalysisTemplate or an AnalysisRun.
pub(super) const ANALYSIS_SPEC: &[Known] = &[
    ("metrics", Read),
    ("args", Read),
    ("dryRun", Read),
    ("templates", Read),
    ("measurementRetention", NotNeeded(EVERY_REQUEST)),
    ("terminate", NotNeeded(NO_CLUSTER)),
    ("ttlStrategy", NotNeeded(NO_CLUSTER)),
];

pub(super) const METRIC: &[Known] = &[
    ("name", Name),
    ("provider", Read),
    ("successCondition", Read),
    ("failureCondition", Read),
    ("interval", NotNeeded(EVERY_REQUEST)),
    ("count", NotNeeded(EVERY_REQUEST)),
    ("failureLimit", NotNeeded(EVERY_REQUEST)),
    ("inconclusiveLimit", NotNeeded(EVERY_REQUEST)),
    ("consecutiveErrorLimit", NotNeeded(EVERY_REQUEST)),
    ("consecutiveSuccessLimit", NotNeeded(EVERY_REQUEST)),
    (
        "initialDelay",
        NotNeeded(
            "nothing has to be collected first; `warm_up` leaves out requests to an instance that has just started",
        ),
    ),
];

pub(super) const PROMETHEUS: &[Known] = &[
    ("query", Read),
    ("rangeQuery", Read),
    ("address", NotNeeded(MEASURED_HERE)),
    ("authentication", NotNeeded(MEASURED_HERE)),
    ("headers", NotNeeded(MEASURED_HERE)),
    ("insecure", NotNeeded(MEASURED_HERE)),
    ("timeout", NotNeeded(MEASURED_HERE)),
];

pub(super) const ROLLOUT_SPEC: &[Known] = &[
    ("strategy", Read),
    ("analysis", NotNeeded("this is how many past analyses are kept; the ledger keeps all")),
    ("replicas", NotNeeded(HOW_IT_RUNS)),
    ("selector", NotNeeded(HOW_IT_RUNS)),
    ("template", NotNeeded(HOW_IT_RUNS)),
    ("workloadRef", NotNeeded(HOW_IT_RUNS)),
    ("minReadySeconds", NotNeeded(HOW_IT_RUNS)),
    ("restartAt", NotNeeded(HOW_IT_RUNS)),
    ("progressDeadlineSeconds", NotNeeded(HOW_IT_RUNS)),
    ("progressDeadlineAbort", NotNeeded(HOW_IT_RUNS)),
    ("revisionHistoryLimit", NotNeeded("the ledger keeps all of them")),
    ("rollbackWindow", NotNeeded("a return to a proven release is never judged")),
    ("paused", Left("a rollout is paused by a person here", "`qd pause`")),
];

pub(super) const STRATEGY: &[Known] = &[("canary", Read), ("blueGreen", Read)];

pub(super) const CANARY: &[Known] = &[
    ("steps", Read),
    ("analysis", Read),
    ("trafficRouting", Read),
    ("scaleDownDelaySeconds", Read),
    ("canaryService", NotNeeded(CARRIED_HERE)),
    ("stableService", NotNeeded(CARRIED_HERE)),
    ("pingPong", NotNeeded(CARRIED_HERE)),
    ("maxSurge", NotNeeded(HOW_IT_RUNS)),
    ("maxUnavailable", NotNeeded(HOW_IT_RUNS)),
    ("antiAffinity", NotNeeded(HOW_IT_RUNS)),
    ("canaryMetadata", NotNeeded(HOW_IT_RUNS)),
    ("stableMetadata", NotNeeded(HOW_IT_RUNS)),
    ("minPodsPerReplicaSet", NotNeeded(HOW_IT_RUNS)),
    ("replicaProgressThreshold", NotNeeded(HOW_IT_RUNS)),
    ("dynamicStableScale", NotNeeded(HOW_IT_RUNS)),
    ("scaleDownDelayRevisionLimit", NotNeeded("one release is kept warm")),
    ("abortScaleDownDelaySeconds", NotNeeded("a release that was undone is stopped")),
];

pub(super) const TRAFFIC_ROUTING: &[Known] = &[
    ("maxTrafficWeight", Read),
    ("alb", NotNeeded(CARRIED_HERE)),
    ("ambassador", NotNeeded(CARRIED_HERE)),
    ("apisix", NotNeeded(CARRIED_HERE)),
    ("appMesh", NotNeeded(CARRIED_HERE)),
    ("istio", NotNeeded(CARRIED_HERE)),
    ("managedRoutes", NotNeeded(CARRIED_HERE)),
    ("nginx", NotNeeded(CARRIED_HERE)),
    ("plugins", NotNeeded(CARRIED_HERE)),
    ("smi", NotNeeded(CARRIED_HERE)),
    ("traefik", NotNeeded(CARRIED_HERE)),
];

pub(super) const STEP: &[Known] = &[
    ("setWeight", Read),
    ("pause", Read),
    ("analysis", Read),
    (
        "experiment",
        Left(
            "no extra copies of releases are run to be compared",
            "the canary is compared with the running release as it is",
        ),
    ),
    ("setCanaryScale", NotNeeded("a canary has as many instances as its service")),
    (
        "setHeaderRoute",
        Left(
            "requests are not assigned by what they say",
            "`sticky` under `[services.NAME.traffic]` keeps a user on one release",
        ),
    ),
    ("setMirrorRoute", COPIES),
    ("plugin", Left("no programs of others take part in a rollout", "run it before `qd deploy`")),
];

pub(super) const PAUSE: &[Known] = &[("duration", Read)];

/// An analysis that a Rollout begins.
pub(super) const BEGUN: &[Known] = &[
    ("templates", Read),
    ("args", Read),
    ("dryRun", Read),
    ("startingStep", NotNeeded("a release is judged from its first request on")),
    ("measurementRetention", NotNeeded(EVERY_REQUEST)),
    ("analysisRunMetadata", NotNeeded(NO_CLUSTER)),
];

pub(super) const REFERENCE: &[Known] = &[("templateName", Read), ("clusterScope", Name)];

const NOT_JUDGED: &str = "a release that takes over by blue-green is not judged";
const JUDGE_IT: &str =
    "`strategy = \"canary\"` judges it on real requests; import the AnalysisTemplate alone for its limits";

pub(super) const BLUE_GREEN: &[Known] = &[
    ("scaleDownDelaySeconds", Read),
    ("autoPromotionEnabled", Read),
    ("activeService", NotNeeded(CARRIED_HERE)),
    ("previewService", NotNeeded(CARRIED_HERE)),
    ("maxUnavailable", NotNeeded(HOW_IT_RUNS)),
    ("previewReplicaCount", NotNeeded(HOW_IT_RUNS)),
    ("antiAffinity", NotNeeded(HOW_IT_RUNS)),
    ("previewMetadata", NotNeeded(HOW_IT_RUNS)),
    ("activeMetadata", NotNeeded(HOW_IT_RUNS)),
    ("scaleDownDelayRevisionLimit", NotNeeded("one release is kept warm")),
    ("abortScaleDownDelaySeconds", NotNeeded("a release that was undone is stopped")),
    (
        "autoPromotionSeconds",
        Left(
            "requests move as soon as every instance is ready",
            "look at it within `hold_back`, and `qd rollback` if it is bad",
        ),
    ),
    ("prePromotionAnalysis", Left(NOT_JUDGED, JUDGE_IT)),
    ("postPromotionAnalysis", Left(NOT_JUDGED, JUDGE_IT)),
];

/// The spec of Flagger's Canary.
pub(super) const FLAGGER_SPEC: &[Known] = &[
    ("targetRef", Name),
    ("analysis", Read),
    ("canaryAnalysis", Read),
    ("skipAnalysis", Read),
    ("suspend", Read),
    ("autoscalerRef", NotNeeded(HOW_IT_RUNS)),
    ("progressDeadlineSeconds", NotNeeded(HOW_IT_RUNS)),
    ("ingressRef", NotNeeded(CARRIED_HERE)),
    ("provider", NotNeeded(CARRIED_HERE)),
    ("routeRef", NotNeeded(CARRIED_HERE)),
    ("service", NotNeeded(CARRIED_HERE)),
    ("upstreamRef", NotNeeded(CARRIED_HERE)),
    ("metricsServer", NotNeeded(MEASURED_HERE)),
    ("revertOnDeletion", NotNeeded(NO_CLUSTER)),
];

pub(super) const FLAGGER_ANALYSIS: &[Known] = &[
    ("interval", Read),
    ("iterations", Read),
    ("maxWeight", Read),
    ("stepWeight", Read),
    ("stepWeights", Read),
    ("metrics", Read),
    ("webhooks", Read),
    ("threshold", NotNeeded(EVERY_REQUEST)),
    ("primaryReadyThreshold", NotNeeded(HOW_IT_RUNS)),
    ("canaryReadyThreshold", NotNeeded(HOW_IT_RUNS)),
    (
        "stepWeightPromotion",
        NotNeeded("the proven release itself gets all requests: nothing is copied to another one first"),
    ),
    (
        "alerts",
        Left("nobody is told of a rollout", "`qd deploy` ends with exit code 3 when a release is undone: let CI tell"),
    ),
    (
        "match",
        Left(
            "requests are not assigned by what they say",
            "`sticky` under `[services.NAME.traffic]` keeps a user on one release",
        ),
    ),
    ("mirror", COPIES),
    ("mirrorWeight", COPIES),
    (
        "sessionAffinity",
        Left(
            "this is not part of a rollout here",
            "`sticky = \"cookie:NAME\"` under `[services.NAME.traffic]` keeps a user on one release, by a cookie of the service",
        ),
    ),
];

pub(super) const FLAGGER_METRIC: &[Known] = &[
    ("name", Name),
    ("query", Read),
    ("templateRef", Read),
    ("threshold", Read),
    ("thresholdRange", Read),
    ("interval", NotNeeded(EVERY_REQUEST)),
    ("templateVariables", NotNeeded("which requests are those of the service is known here")),
];

pub(super) const RANGE: &[Known] = &[("min", Read), ("max", Read)];

pub(super) const METRIC_TEMPLATE_SPEC: &[Known] = &[("provider", Read), ("query", Read)];

pub(super) const METRIC_PROVIDER: &[Known] = &[
    ("type", Name),
    ("address", NotNeeded(MEASURED_HERE)),
    ("headers", NotNeeded(MEASURED_HERE)),
    ("insecureSkipVerify", NotNeeded(MEASURED_HERE)),
    ("region", NotNeeded(MEASURED_HERE)),
    ("secretRef", NotNeeded(MEASURED_HERE)),
];
