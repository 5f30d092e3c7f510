"""The registry as an ASGI application, joined from settings and collaborators."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI
from sqlalchemy import Engine

from kolm import __version__
from kolm.verify import verify_bundle
from registry.blobs import Blobs, LocalBlobs
from registry.index import Index
from registry.ingest import Service, Verifier
from registry.log import Log
from registry.logroutes import keys, proofs, revocations, tiles
from registry.models import open_engine
from registry.problems import ProblemAPI, install, problem_responses
from registry.routes import artifacts, health, objects
from registry.settings import RegistrySettings
from registry.summaries import Summaries
from registry.uploads import sweep


def create_app(
    settings: RegistrySettings,
    *,
    engine: Engine | None = None,
    blobs: Blobs | None = None,
    verifier: Verifier = verify_bundle,
) -> FastAPI:
    """Build the application; what is not given lives under `settings.data`.

    Raises StorageError when that directory cannot be used.
    """
    sweep(settings.incoming)
    database = engine or open_engine(settings.data / "index.sqlite3")
    index = Index(database)
    log = Log(settings.data, index, origin=settings.origin)
    app = ProblemAPI(
        title="kolm registry",
        version=__version__,
        summary="Keeps what was proven and hands it out by CID.",
        docs_url=None,  # the pages that FastAPI would show load scripts from elsewhere
        redoc_url=None,
        responses=problem_responses(422, 500),
        lifespan=_closing(database, log),
    )
    app.state.service = Service(
        settings=settings,
        index=index,
        blobs=blobs or LocalBlobs(settings.data / "blobs"),
        verifier=verifier,
        log=log,
        summaries=Summaries(settings.data),
    )
    install(app)
    for router in (artifacts, objects, proofs, keys, revocations, tiles, health):
        app.include_router(router)
    return app


def _closing(engine: Engine, log: Log) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Return a lifespan that closes log and database at the end, which also folds SQLite's own log in."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        log.close()
        engine.dispose()

    return lifespan
