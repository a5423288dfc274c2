"""Where reports are."""

from django.urls import path

from reports import views

urlpatterns = [
    path("", views.start),
    path("<int:report_id>/", views.show),
]
