"""The service's description as one page of HTML, made of its OpenAPI document; it loads nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any

_STYLE = (
    "body{font:16px/1.5 sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem}"
    "pre{background:#f4f4f4;padding:.7rem;overflow:auto}"
)


def described(openapi: Mapping[str, Any]) -> str:
    """Return the page."""
    info = openapi["info"]
    parts = [
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1>",
        f"<p>{escape(info['description'])}</p>",
    ]
    parts.append('<p>The whole description: <a href="openapi.json">openapi.json</a></p>')
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            parts.append(
                f"<h2>{method.upper()} {escape(path)}</h2><p>{escape(operation.get('description', ''))}</p>"
            )
            if schema := _body(openapi, operation):
                parts.append(f"<pre>{escape(json.dumps(schema, ensure_ascii=False, indent=2))}</pre>")
    body = "\n".join(parts)
    title = escape(info["title"])
    head = f"<meta charset=utf-8><title>{title}</title><style>{_STYLE}</style>"
    return f"<!doctype html><html lang=en>{head}{body}</html>"


def _body(openapi: Mapping[str, Any], operation: Mapping[str, Any]) -> dict[str, Any] | None:
    """The fields of an operation's body, each with what it is."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return None
    name = content["schema"]["$ref"].rpartition("/")[2]
    properties: dict[str, Any] = openapi["components"]["schemas"][name]["properties"]
    return {field: it.get("description", it.get("title", "")) for field, it in properties.items()}
