"""Time zones that differ in every known way: quarters of hours, days left out, changes at midnight."""

from __future__ import annotations

ZONES = [
    "UTC",
    "Europe/Paris",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Asia/Beirut",
    "America/Havana",
    "America/St_Johns",
    "Atlantic/Azores",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Africa/Casablanca",
    "Antarctica/Troll",
    "Asia/Pyongyang",
]
