# SPDX-License-Identifier: MIT
"""A shop with Flask that keeps something of each visit; /count says in which process, and how often."""
import os
import time

from flask import Flask, jsonify, render_template_string

app = Flask(__name__)
kept = []


@app.get("/")
def visit():
    kept.append(bytearray(20000))  # @kept
    return render_template_string("{% for n in range(20) %}<li>{{ n }}</li>{% endfor %}")


@app.get("/count")
def count():
    time.sleep(0.005)  # so that the others have to answer, too
    return jsonify([os.getpid(), len(kept)])
