"""Settings of the table of classification baselines: one question, many methods."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from neurodecode.config.base import Settings
from neurodecode.config.codebook import ClassifierSettings, MaskedEncoderSettings, TokenizerSettings
from neurodecode.config.labels import LabelSettings

Band = tuple[float, float]
BANDS: tuple[Band, ...] = ((1, 4), (4, 8), (8, 13), (13, 30), (30, 45), (70, 150))
PENALTIES = tuple(float(f"{10.0**k:g}") for k in range(-2, 7))
SHRINKAGES = (0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)


class BandPowerSettings(Settings):
    """Logarithm of the power in bands: the numbers that linear methods see."""

    bands: tuple[Band, ...] = Field(BANDS, min_length=1)
    """Edges, Hz. Bands that do not end below half the sampling rate are left out, and it is said."""
    bins: PositiveInt = 1
    """Equal parts of the window, each with powers of its own; words want several, states one."""
    person: Literal["standardise", "center"] = "standardise"
    """With scaling person, by all windows of each person: mean and deviation of each number, or its mean alone, so that people
    whose power changes much keep that."""

    @field_validator("bands")
    @classmethod
    def _ordered(cls, bands: tuple[Band, ...]) -> tuple[Band, ...]:
        for low, high in bands:
            if not 0 <= low < high:
                raise ValueError(
                    f"band [{low:g}, {high:g}] Hz: the first edge must lie below the second, both from 0 up"
                )
        return bands


class LdaMethod(Settings):
    """Linear discriminant analysis of band power with a shrunk covariance."""

    kind: Literal["lda"] = "lda"
    power: BandPowerSettings = BandPowerSettings()
    shrinkage: Literal["formula", "inner"] | Annotated[float, Field(ge=0, le=1)] = "formula"
    """Towards a multiple of the identity: by the formula of Ledoit and Wolf (2004), which takes windows as independent and so
    shrinks little where few people give many; inner: the share of SHRINKAGES that does best on held-out parts of the training
    windows, whole people where there are several; or a share."""
    inner: int = Field(5, ge=2)
    """At most so many parts, for shrinkage inner; as those of ridge."""


class RidgeMethod(Settings):
    """Ridge classification of band power."""

    kind: Literal["ridge"] = "ridge"
    power: BandPowerSettings = BandPowerSettings()
    penalties: tuple[PositiveFloat, ...] = Field(PENALTIES, min_length=1)
    """Tried on held-out parts of the training windows alone; features are standardised."""
    inner: int = Field(5, ge=2)
    """At most so many parts: whole people where there are several, else whole runs, else stretches of time."""


class RiemannMethod(Settings):
    """Logistic regression in the tangent space of covariance matrices (Barachant et al. 2012); needs pyriemann."""

    kind: Literal["riemann"] = "riemann"
    covariance: Literal["oas", "lwf", "scm"] = "oas"
    """Estimate of each window's covariance: two ways of shrinking, or none."""
    penalty: PositiveFloat = 1.0
    """C of the logistic regression: the inverse of its penalty."""


class NetworkTrainingSettings(Settings):
    """AdamW and a half cosine; the epoch with the lowest validation loss is kept."""

    epochs: PositiveInt = 60
    batch_size: PositiveInt = 32
    """Windows a step."""
    learning_rate: PositiveFloat = 1e-3
    """Of the first epoch; the last ends near 0."""
    weight_decay: float = Field(0.01, ge=0)
    """Decoupled."""
    patience: PositiveInt = 15
    """Epochs without a lower validation loss."""
    gradient_clip: PositiveFloat = 1.0
    """Largest norm of the gradient."""


class NetworkMethod(Settings):
    """A network by name: SpectrogramCnn or EnvelopeGru of neurodecode.models.baselines, or any class of braindecode.models."""

    kind: Literal["network"] = "network"
    network: str
    options: dict[str, Any] = Field(default_factory=dict)
    """Passed to the class; sizes come from the data."""
    training: NetworkTrainingSettings = NetworkTrainingSettings()


class StageTrainingSettings(Settings):
    """How one stage of the codebook encoder is trained."""

    epochs: PositiveInt = 30
    batch_size: PositiveInt = 32
    """Windows a step."""
    learning_rate: PositiveFloat = 1e-3
    """After the warm-up; a half cosine to a hundredth of it."""
    warmup: int = Field(3, ge=0)
    """Epochs."""
    weight_decay: float = Field(0.05, ge=0)
    """Of matrices."""
    patience: PositiveInt = 30
    """Epochs without a lower validation loss; the best epoch is kept in any case."""


class PretrainingSettings(Settings):
    """Stages before the classifier, which read no label: on training people and runs alone."""

    tokenizer: TokenizerSettings
    masked: MaskedEncoderSettings | None = None
    """None: the classifier starts from the tokenizer."""
    stride: PositiveFloat = 1.0
    """Windows of pretraining start every so many seconds of each recording."""
    tokenizer_training: StageTrainingSettings = StageTrainingSettings()
    masked_training: StageTrainingSettings = StageTrainingSettings()


class CodebookMethod(Settings):
    """The classifier of the codebook-guided encoder (Du-IN), from scratch or after pretraining."""

    kind: Literal["codebook"] = "codebook"
    model: ClassifierSettings = ClassifierSettings()
    pretraining: PretrainingSettings | None = None
    """None: from scratch."""
    training: StageTrainingSettings = StageTrainingSettings()


Method = Annotated[
    LdaMethod | RidgeMethod | RiemannMethod | NetworkMethod | CodebookMethod, Field(discriminator="kind")
]


def _quick() -> dict[str, Method]:
    return {"lda": LdaMethod(), "ridge": RidgeMethod()}


LEARNT = ("network", "codebook")  # kinds that a seed changes
Figure = Literal["accuracy", "balanced_accuracy", "auc", "top5", "macro_f1", "cross_entropy"]


class BaselineSettings(Settings):
    """One table: every method is given the same windows, channels, rate and sides. Chance and majority are always there."""

    name: str = "baselines"
    """Shown over the table."""
    labels: LabelSettings = LabelSettings()
    """Windows, their labels and their split."""
    subjects: tuple[str, ...] = ()
    """Only these; empty takes all."""
    fit: Literal["auto", "subject", "cohort"] = "auto"
    """One model a subject, or one for all; auto: a model a subject, unless people are held out."""
    scaling: tuple[Literal["training", "person"], ...] = Field(("training",), min_length=1)
    """training: scaled by training windows; person: each person by all of his own windows, of test too, without their
    labels (transductive). Named twice, each method has two rows."""
    class_weight: Literal["none", "balanced"] = "none"
    """balanced: methods are fitted as if training labels were equally frequent."""
    methods: dict[str, Method] = Field(default_factory=_quick)
    """Name of the row -> method."""
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1)
    """Networks are trained once for each; the others have no chance in them."""
    bootstrap: PositiveInt = 2_000
    """Resamples of people behind each 95 % interval."""
    reference: str | None = None
    """Row that each other method's row is compared with, paired over people: a method, majority or chance. Where scaling names
    two, METHOD.SCALING. None: no comparison."""
    compare_by: Literal["auto"] | Figure = "auto"
    """Figure whose difference is tested; auto: auc of two labels, else accuracy. Choose it before you see the table."""

    @model_validator(mode="after")
    def _consistent(self) -> BaselineSettings:
        if self.labels.split.rule == "subjects" and self.fit == "subject":
            raise ValueError(
                "fit is subject, but labels.split.rule subjects holds people out: set fit to auto or cohort"
            )
        for what, values in (("scaling", self.scaling), ("seeds", self.seeds)):
            if len(set(values)) < len(values):
                raise ValueError(f"{what} has a value more than once")
        odd = [name for name in self.methods if not name or name in ("chance", "majority") or set(name) & set("/\\ .")]
        if odd:
            raise ValueError(
                f"methods: {odd[0]!r} cannot name a row: chance and majority are there, and / \\ . must not be"
            )
        if self.labels.window.shift:
            raise ValueError(
                f"labels.window.shift is {self.labels.window.shift}: no sound is aligned here, set it to 0"
            )
        rows = ["chance", "majority", *self.row_names()]
        if self.reference is not None and self.reference not in rows:
            raise ValueError(f"reference is {self.reference}: the rows are {', '.join(rows)}")
        return self

    def row_names(self) -> list[str]:
        """Names of the methods' rows, in order: the method, with its scaling where there are two."""
        if len(self.scaling) == 1:
            return list(self.methods)
        return [f"{name}.{scaling}" for name in self.methods for scaling in self.scaling]

    @property
    def one_model_a_subject(self) -> bool:
        """Whether each subject has models of his own."""
        return self.fit == "subject" or (self.fit == "auto" and self.labels.split.rule != "subjects")
