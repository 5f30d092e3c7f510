"""The command line: one function per command, each in the file of its noun.

This package is the composition root, the only place that joins apps and registry. A command imports
what it needs when it runs, so that `kolm --help` loads none of it.
"""

import typer

from kolm.cli import (
    capture,
    compile,
    doctor,
    eval,
    export,
    init,
    inspect,
    key,
    leaks,
    log,
    models,
    pack,
    plan,
    registry,
    run,
    schema,
    store,
    verify,
)

app = typer.Typer(
    name="kolm",
    help="Compile a vision-language model for one narrow task and prove what was done to it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.command("init")(init.init)
app.command("plan")(plan.plan)
app.command("compile")(compile.compile_)
app.command("run")(run.run)
app.command("eval")(eval.eval_)
app.command("leaks")(leaks.leaks)
app.command("export")(export.export)
app.command("verify")(verify.verify)
app.command("inspect")(inspect.inspect)
app.command("push")(store.push)
app.command("pull")(store.pull)
app.command("search")(store.search)
app.command("log")(log.log)
app.command("models")(models.models)
app.command("schema")(schema.schema)
app.command("doctor")(doctor.doctor)
app.add_typer(pack.app, name="pack")
app.add_typer(capture.app, name="capture")
app.add_typer(registry.app, name="registry")
app.add_typer(key.app, name="key")
