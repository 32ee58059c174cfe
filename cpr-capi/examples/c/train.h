/* What train.c needs of the machine it runs on, and what it offers. */
#ifndef TRAIN_H
#define TRAIN_H

/* Prints one result. */
void say(const char *name, double value);
/* Prints a text. */
void say_text(const char *text);
/* Trains; 0 where all went well. */
int train(void);

#endif
