/* Words of the scripts of Django's admin that its German lacks; see words_of_django.py. */
gettext('Choose %s by selecting them and then select the "Choose" arrow button.');
gettext('Choose all %s');
gettext('Choose selected %s');
gettext('Remove selected %s');
gettext('Remove %s by selecting them and then select the "Remove" arrow button.');
gettext('(click to clear)');
gettext('Remove all %s');
