"""The kit of `kill_app` around a Flask app."""

from __future__ import annotations

from flask import Flask
from kill_app import kit

app = Flask(__name__)
kit.install(app)
