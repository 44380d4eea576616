"""The tables of local models: what a person configures (LocalModel), how it is (LocalModelStatus), what
happened to it (LocalModelEvent), and the machines that run models (ModelHost).

Configuration and state are separate rows: saving the form never overwrites a state, and the supervisor, the
one writer of states, never overwrites the form.
"""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from inference.local import validation
from inference.local.choices import Kind, Link, State, Wanted
from ollaproject import sealed

MAX_NAME_LENGTH = 200
MAX_REASON_LENGTH = 1000
FIRST_FREE_PORT = 1024
LAST_PORT = 65535


class LocalModel(models.Model):
    """A model that one of our own machines serves, as a person describes it."""

    name = models.CharField(
        _("name"),
        max_length=MAX_NAME_LENGTH,
        unique=True,
        validators=[validation.validate_name],
        help_text=_("What clients ask for."),
        error_messages={"unique": _("Another local model has this name. Clients tell them apart by it.")},
    )
    source = models.CharField(
        _("source"),
        max_length=500,
        help_text=_(
            "A Hugging Face id such as mlx-community/Llama-3.2-3B-Instruct-4bit, the path of a folder, "
            "or demo."
        ),
    )
    revision = models.CharField(
        _("revision"),
        max_length=100,
        blank=True,
        help_text=_("A branch, tag or commit of a Hugging Face model; empty: main."),
    )
    kind = models.CharField(_("kind"), max_length=10, choices=Kind, default=Kind.CHAT)
    embedding_source = models.CharField(
        _("embedding model"),
        max_length=500,
        blank=True,
        help_text=_("The one beside a chat model, named likewise."),
    )
    host = models.CharField(
        _("machine"),
        max_length=100,
        blank=True,
        help_text=_("The machine that runs it; empty: any that has room for it."),
    )
    port = models.PositiveIntegerField(
        _("port"),
        null=True,
        blank=True,
        validators=[MinValueValidator(FIRST_FREE_PORT), MaxValueValidator(LAST_PORT)],
        help_text=_("The port of its own server; empty: any that is free."),
    )
    autostart = models.BooleanField(
        _("start with the gateway"), default=True, help_text=_("Whether it is started when the gateway is.")
    )
    keep_alive_seconds = models.PositiveIntegerField(
        _("unload after"),
        null=True,
        blank=True,
        help_text=_(
            "Seconds without a request after which it is unloaded. "
            "The next request loads it again. Empty: it stays."
        ),
    )
    pinned = models.BooleanField(
        _("pinned"),
        default=False,
        help_text=_("Never unloaded, neither when idle nor to make room for another model."),
    )
    max_concurrent = models.PositiveSmallIntegerField(
        _("answers at once"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(1024)],
        help_text=_("How many are generated side by side; empty: 16."),
    )
    prompt_cache_megabytes = models.PositiveIntegerField(
        _("prompt cache (MB)"),
        null=True,
        blank=True,
        help_text=_("Memory for prompts that were read before; 0 keeps none, empty: what suits the machine."),
    )
    disk_cache_megabytes = models.PositiveIntegerField(
        _("prompt cache on disk (MB)"),
        null=True,
        blank=True,
        help_text=_(
            "Disk for prompts that were read before, so that a restart does not forget them. "
            "Prompts can be read out of these files. Empty or 0: none."
        ),
    )
    context_limit = models.PositiveIntegerField(
        _("longest context (tokens)"),
        null=True,
        blank=True,
        validators=[MinValueValidator(16)],
        help_text=_(
            "Prompt and answer together; longer ones are refused. Empty: what the model was made for."
        ),
    )
    draft_source = models.CharField(
        _("draft model"),
        max_length=500,
        blank=True,
        help_text=_(
            "A smaller model with the same vocabulary, named like the source, which guesses what this "
            "one will say to a caller who is alone. The answers stay the same."
        ),
    )
    adapter_path = models.CharField(
        _("adapter (LoRA)"),
        max_length=500,
        blank=True,
        help_text=_("The folder of an adapter that mlx-lm has trained for this model, by its whole path."),
    )
    chat_template_options = models.JSONField(
        _("chat template options"),
        default=dict,
        blank=True,
        help_text=_(
            "What the chat template is given when a request says nothing else, such as "
            '{"enable_thinking": false}.'
        ),
    )
    runs_own_code = models.BooleanField(
        _("run the model's own code"),
        default=False,
        help_text=_(
            "Let Python code that comes with the model's files run, with all rights of this program. "
            "Only for code that you have read."
        ),
    )
    spread_over = models.JSONField(
        _("machines together"),
        default=list,
        blank=True,
        help_text=_(
            "For a model that is too large for one machine: the addresses of all that run it together, "
            "the one that answers first. Empty: one machine."
        ),
    )
    spread_through = models.CharField(
        _("connected by"),
        max_length=5,
        choices=Link,
        default=Link.RING,
        help_text=_("How those machines talk."),
    )
    spread_hostfile = models.CharField(
        _("host file"),
        max_length=500,
        blank=True,
        help_text=_("The file that mlx.distributed_config has written for these machines. JACCL needs one."),
    )
    memory_megabytes = models.PositiveIntegerField(
        _("memory budget (MB)"),
        null=True,
        blank=True,
        help_text=_("What it is taken to need, in place of the estimate from its files."),
    )
    server_options = models.CharField(
        _("server options"),
        max_length=500,
        blank=True,
        validators=[validation.validate_server_options],
        help_text=_("More options of manage.py serve_model, as on its command line."),
    )
    aliases = models.JSONField(
        _("aliases"), default=list, blank=True, help_text=_("Other names that clients may use.")
    )
    encrypted_token = models.TextField(blank=True, editable=False)
    from_settings = models.BooleanField(default=False, editable=False)
    wanted = models.CharField(max_length=12, choices=Wanted, default=Wanted.STOPPED, editable=False)
    wanted_at = models.DateTimeField(null=True, editable=False)
    files_unwanted = models.BooleanField(default=False, editable=False)
    restart_asked_at = models.DateTimeField(null=True, editable=False)
    update_asked_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = _("local model")
        verbose_name_plural = _("local models")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        validation.validate_local_model(self)

    def set_token(self, plain: str) -> None:
        """Store the Hugging Face token encrypted; an empty one removes what is stored. The caller saves."""
        self.encrypted_token = sealed.seal(plain)

    def token(self) -> str:
        """The token in the clear, empty if there is none. Raises SealBroken."""
        return sealed.unseal(self.encrypted_token)


class LocalModelStatus(models.Model):
    """How a local model is. Written by inference.local.record, for the supervisor, and by nobody else.

    `commit` is the revision that was fetched, `running_commit` the one that answers now.
    `done` of `total` is how far a download (bytes) or the loading (milliseconds, by the last time) has come.
    """

    model = models.OneToOneField(
        LocalModel, on_delete=models.CASCADE, primary_key=True, related_name="status"
    )
    state = models.CharField(max_length=12, choices=State, default=State.STOPPED)
    reason = models.CharField(max_length=MAX_REASON_LENGTH, blank=True)
    since = models.DateTimeField()
    host = models.CharField(max_length=100, blank=True)
    done = models.BigIntegerField(default=0)
    total = models.BigIntegerField(default=0)
    bytes_per_second = models.FloatField(default=0)
    folder = models.CharField(max_length=1000, blank=True)
    embedding_folder = models.CharField(max_length=1000, blank=True)
    commit = models.CharField(max_length=64, blank=True)
    draft_folder = models.CharField(max_length=1000, blank=True)
    fetched_for = models.CharField(max_length=2000, blank=True)
    fetched_at = models.DateTimeField(null=True)
    running_commit = models.CharField(max_length=64, blank=True)
    facts = models.JSONField(default=dict)
    pid = models.PositiveIntegerField(null=True)
    pid_began = models.FloatField(null=True)
    port = models.PositiveIntegerField(null=True)
    encrypted_key = models.TextField(blank=True)
    started_at = models.DateTimeField(null=True)
    endpoint_id = models.BigIntegerField(null=True)
    failures = models.PositiveIntegerField(default=0)
    retry_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)
    load_seconds = models.FloatField(null=True)
    memory_bytes = models.BigIntegerField(null=True)
    log_tail = models.TextField(blank=True)

    class Meta:
        verbose_name_plural = "local model statuses"

    def __str__(self) -> str:
        return f"{self.model_id}: {self.state}"


class LocalModelEvent(models.Model):
    """A change of state, kept for good: what a person reads who asks what happened."""

    model = models.ForeignKey(LocalModel, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField()
    old_state = models.CharField(max_length=12, choices=State)
    new_state = models.CharField(max_length=12, choices=State)
    reason = models.CharField(max_length=MAX_REASON_LENGTH, blank=True)

    class Meta:
        verbose_name = _("change of state")
        verbose_name_plural = _("changes of state")
        ordering = ["-at", "-id"]
        indexes = [models.Index(fields=["model", "-at"], name="events_of_a_local_model")]

    def __str__(self) -> str:
        return f"{self.model_id}: {self.old_state} → {self.new_state}"


class ModelHost(models.Model):
    """A machine with a supervisor. `running` is false once that has said goodbye. Sizes are in bytes."""

    name = models.CharField(max_length=100, unique=True)
    seen_at = models.DateTimeField()
    running = models.BooleanField(default=True)
    memory_total = models.BigIntegerField(default=0)
    memory_free = models.BigIntegerField(default=0)
    disk_free = models.BigIntegerField(default=0)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def memory_used(self) -> int:
        return max(0, self.memory_total - self.memory_free)
