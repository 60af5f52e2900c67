"""The whole stack on one machine: the same template and handlers, with what AWS would bring.

with Stack() as stack:
    httpx.get(stack.url + "/healthz")
"""
