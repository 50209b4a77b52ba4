# SPDX-License-Identifier: MIT
"""The same shop with Django."""
import os
import time

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, JsonResponse
from django.template import Context, Engine
from django.urls import path

settings.configure(ROOT_URLCONF=__name__, SECRET_KEY="x", ALLOWED_HOSTS=["*"], USE_TZ=True)
page = Engine().from_string("{% for n in numbers %}<li>{{ n }}</li>{% endfor %}")
kept = []


def visit(request):
    kept.append(bytearray(20000))  # @kept
    return HttpResponse(page.render(Context({"numbers": range(20)})))


def count(request):
    time.sleep(0.005)  # so that the others have to answer, too
    return JsonResponse([os.getpid(), len(kept)], safe=False)


urlpatterns = [path("", visit), path("count", count)]
app = get_wsgi_application()
