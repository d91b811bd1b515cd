"""From who serves (the judge's view) to routes (the proxy's): a pure function."""

from __future__ import annotations

from collections.abc import Mapping

from comparator.events import Mode
from comparator.title import Serving
from router.link.messages import Backend, Lane, ModelRoutes
from router.settings import ModelSettings


def model_routes(
    name: str, settings: ModelSettings, serving: Serving, sample: int = 0, lanes: Mapping[str, Serving] | None = None
) -> ModelRoutes:
    """The routes of one model.

    `sample` is the percent of its requests that proxies are to copy to control; `lanes` are who serves by its lanes, by
    their names. One that is compared with another champion than the one that answers gets no copies.

    A version without an endpoint gets no traffic: as the champion it means 503, as the other none at all.
    """
    other = _backend(settings, serving.other)
    return ModelRoutes(
        name=name,
        protocol=settings.protocol,
        champion=_backend(settings, serving.champion),
        other=other,
        other_role=int(serving.other_role),
        mode=int(serving.mode) if other is not None else 0,
        rollout_id=serving.rollout_id if other is not None else 0,
        share=serving.share if other is not None else 0,
        mirror=serving.mirror if other is not None else 0,
        previous=_backend(settings, serving.previous),
        mirror_credentials=settings.mirror_credentials,
        mirror_random_order=settings.mirror_order == "random",
        assign_by=settings.assign_by or "",
        request_id=settings.request_id or "",
        rules=tuple(rule.rule() for rule in settings.rules),
        asked_twice=settings.asked_twice or 0,
        sample=sample,
        served_as=settings.served_as,
        predict_path=settings.predict_path or "",
        lanes=tuple(
            Lane(lane, backend, beside.rollout_id, beside.mirror)
            for lane, beside in (lanes or {}).items()
            if beside.mode is Mode.SHADOW
            and beside.champion == serving.champion
            and (backend := _backend(settings, beside.other)) is not None
        ),
    )


def _backend(settings: ModelSettings, version: int | None) -> Backend | None:
    if version is None or settings.probed_at(version) is None:
        return None
    return Backend(version, settings.endpoint_of(version) or "", settings.tls, settings.grpc_of(version) or "")
