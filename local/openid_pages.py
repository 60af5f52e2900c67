"""The HTML pages of the provider: sign-in, a device's sign-in, and a failed sign-in."""

_HEAD = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; margin: 12vh auto; max-width: 24rem; padding: 0 1rem;
         color: #1d2433; background: #f6f7f9 }
  main { background: #fff; border: 1px solid #dfe3ea; border-radius: 12px; padding: 1.5rem }
  h1 { font-size: 1.25rem; margin: 0 0 .25rem }
  p { margin: .25rem 0 1rem; color: #5a6475; font-size: .9rem }
  button { display: block; width: 100%; margin: .5rem 0; padding: .75rem 1rem; text-align: left;
           font: inherit; background: #fff; border: 1px solid #c5ccd8; border-radius: 8px;
           cursor: pointer }
  button:hover, button:focus-visible { border-color: #2457d6; background: #f2f6ff }
  small { display: block; color: #5a6475 }
</style>
<main>
"""

SIGN_IN_PAGE = (
    "{% set title = 'Sign in' %}"
    + _HEAD
    + """<h1>Sign in</h1>
<p>to {{ client }}. This provider is on your own machine: choose who
you are, no password is asked.</p>
<form method="post">
  {% for person in people %}
  <button name="person" value="{{ person.subject }}">
    {{ person.name }}<small>{{ person.email }}</small>
  </button>
  {% endfor %}
</form>
</main>
"""
)

DEVICE_PAGE = (
    "{% set title = 'Connect a device' %}"
    + _HEAD
    + """<h1>Connect a device</h1>
{% if is_done %}<p>Done. You can close this page.</p>{% elif client %}
<p>{{ client }} shows the code <strong>{{ code }}</strong>. Compare it, then choose who you are.</p>
<form method="post">
  <input type="hidden" name="user_code" value="{{ code }}">
  {% for person in people %}
  <button name="person" value="{{ person.subject }}">
    {{ person.name }}<small>{{ person.email }}</small>
  </button>
  {% endfor %}
  <button name="person" value="">Refuse</button>
</form>{% else %}
<form><input name="user_code" placeholder="Code" autofocus> <button>Continue</button></form>
{% endif %}
</main>
"""
)

ERROR_PAGE = (
    "{% set title = 'Sign-in failed' %}"
    + _HEAD
    + """<h1>Sign-in failed</h1>
<p>{{ error }}</p>
</main>
"""
)
